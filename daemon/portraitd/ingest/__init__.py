"""Stage 1: from the inbox to files, videos and slices.

Watch and scan the folder, wait until a file is stable, register it, and schedule its slices.
"""
