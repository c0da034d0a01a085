"""What portraitd remembers: one SQLite file on a local disk, one writer. All SQL lives here."""

from portraitd.store.appearances import Appearances
from portraitd.store.crew import ClusterState, Crew, CrewMember
from portraitd.store.database import Database, StoreLock
from portraitd.store.faces import Faces, StoredFace
from portraitd.store.files import Files, KnownFile
from portraitd.store.forgetting import Forgetting
from portraitd.store.ledger import Ledger
from portraitd.store.people import Census, People
from portraitd.store.showing import Showing
from portraitd.store.showings import Showings
from portraitd.store.standing import Standing
from portraitd.store.tracks import TrackStore
from portraitd.store.troubles import Troubles
from portraitd.store.verdicts import Verdicts
from portraitd.store.work import Ticket, Work

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
