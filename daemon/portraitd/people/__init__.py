"""The tree people look at: one folder per person, editable by hand.

Nothing here imports cv2 except ``portraits`` and ``montage``, which run in workers only.
"""
