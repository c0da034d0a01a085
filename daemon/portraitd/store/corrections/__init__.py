"""Ledger of edits, and the corrections that it resolves to for today's faces.

::

    edit_recorder        edits in, ledger entries out, and their effect on the store at once
      scope              which faces each edit acts on
      exemplars          faces that keep a person who they are
      effects            brings faces and people to what the corrections say
    ledger               the entries: append-only, an undo is an entry
    replay               entries in, corrections out; no database
      separations        who is not one person; no database
    face_fingerprints    which face a fingerprint matches today
      fingerprint_matching   by time and box; no database
"""
