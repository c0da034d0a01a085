"""The long-running process: loop, wiring, control requests, health, metrics, systemd.

``supervisor`` runs the service until it is stopped, with heartbeat, metrics and reloads around it;
``daemon`` opens the store and the workers and runs the loop; ``pipeline`` puts the stages in one
tuple and ticks them in order. ``control`` carries out requests of commands, which ``control_files``
passes through the state folder. ``executors`` and ``pools`` decide where jobs run; ``remote`` are
workers on other machines. ``share_probe`` asks in a thread whether a share responds, because a call
to a share that hangs never returns.
"""
