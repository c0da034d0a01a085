"""What portraitd remembers: one SQLite file on a local disk, one writer. All SQL lives here."""

from portraitd.store.database import Database, StoreLock
from portraitd.store.faces import Faces, StoredFace
from portraitd.store.files import Files, KnownFile
from portraitd.store.forgetting import Forgetting
from portraitd.store.people import Census, People
from portraitd.store.tracks import TrackStore
from portraitd.store.work import Ticket, Work

__all__ = [
    "Census",
    "Database",
    "Faces",
    "Files",
    "Forgetting",
    "KnownFile",
    "People",
    "StoreLock",
    "StoredFace",
    "Ticket",
    "TrackStore",
    "Work",
]
