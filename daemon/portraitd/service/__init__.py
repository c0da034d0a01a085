"""The long-running process: the loop, its wiring, control requests, health, metrics and systemd."""
