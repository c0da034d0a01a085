"""Stage 2: read untrusted files and their frames, and the file primitives that all packages share.

Only workers import what decodes; every process may import `fs` and `container`.
"""
