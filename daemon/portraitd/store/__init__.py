"""What portraitd remembers: one SQLite file on a local disk, one writer. All SQL lives here."""

from portraitd.store.alerts import Troubles
from portraitd.store.appearances import Appearances
from portraitd.store.corrections.edit_recorder import Verdicts
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database, StoreLock
from portraitd.store.erasure.eraser import Forgetting
from portraitd.store.faces import Faces, StoredFace
from portraitd.store.files import Files, KnownFile
from portraitd.store.gallery_history import Showings
from portraitd.store.people import Census, People
from portraitd.store.publications import Showing
from portraitd.store.queue_stats import Standing
from portraitd.store.remote_workers import ClusterState, Crew, CrewMember
from portraitd.store.slices import Ticket, Work
from portraitd.store.tracks import TrackStore

__all__ = [
    "Appearances",
    "Census",
    "ClusterState",
    "Crew",
    "CrewMember",
    "Database",
    "Faces",
    "Files",
    "Forgetting",
    "KnownFile",
    "Ledger",
    "People",
    "Showing",
    "Showings",
    "Standing",
    "StoreLock",
    "StoredFace",
    "Ticket",
    "TrackStore",
    "Troubles",
    "Verdicts",
    "Work",
]
