"""Stage 2: read untrusted files and their frames, and the file primitives that all packages share.

Only workers import what decodes; `fs` and `container` are for everybody.
"""
