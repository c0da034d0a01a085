"""A pool of sandboxed worker processes. It knows no job and no stage."""
