"""The command line: commands, and what they print.

``main`` is the group of all commands and their exit codes. The commands are in the modules named
after their group (``run_commands``, ``inspection_commands``, ``edit_commands``, …); each parses its
options, calls one function and prints the result. ``client`` sends requests to the running service.
"""
