"""The database: one SQLite file on a local disk, one writer. All SQL is in here.

The service holds a lock (``StoreLock``) and the only connection that writes; commands read, or
ask the service. Each class owns the tables of one subject: ``files``, ``slices`` (the work
queue), ``faces``, ``tracks``, ``people``, ``publications``, ``dataset_store``; the ledger of edits
is in ``corrections``. ``snapshot`` reads the present state. Views define which faces count:

*   ``current_faces``: all but the new faces of videos that are still being reprocessed;
*   ``grouped_faces`` and ``grouped_tracks``: current ones that take part in grouping;
*   ``visible_faces``: current ones that may be shown.

Portraits are stored as JPEG, so the tree can be rebuilt without the videos. A schema change is a
new file in ``migrations/``, run in one transaction when the database is opened; a shipped
migration never changes. Tables that are append-only are protected by triggers, which an erasure
lifts within its own transaction.
"""
