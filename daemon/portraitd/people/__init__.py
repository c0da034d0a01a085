"""Stage 5: one folder per person, published for reviewers and edited by them.

``review`` reads edits from the tree, ``publisher`` keeps the tree up to date, ``tree`` is the tree
itself and ``pages`` are the HTML pages in it. Montages are drawn in workers (``montage``).
"""
