"""Cards about edits, with which reviewers answer without a terminal.

``edit_cards`` keeps the last edits as text files in ``people/_edits``; one that is moved into
``undo`` is undone. ``loss_question`` asks among the questions whether missing portraits were
deleted. Both say what reviewers did as edits, which the review records as any other.
"""
