"""Questions to reviewers: pictures in ``people/_questions`` that are answered by moving them.

``question_selection`` chooses what to ask, the most valuable first. A worker draws each picture
(``question_picture``). ``question_stage`` has them written into the folder of cards, and
``question_answers`` turns what reviewers did with them into edits, which the review records as any
other edit.
"""
