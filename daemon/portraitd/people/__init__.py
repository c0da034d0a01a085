"""Stage 5: one folder per person, published for reviewers and edited by them.

``review`` reads edits from the tree and records them, ``publisher`` keeps the tree up to date,
``tree`` is the tree itself and ``pages`` are the HTML pages in it. ``montage`` is the only module
that uses OpenCV, and only workers call it.
"""
