"""What portraitd remembers: one SQLite file on a local disk, one writer. All SQL lives here."""

from portraitd.store.appearances import Appearances
from portraitd.store.blocked_stages import BlockedStages
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database, StoreLock
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.faces import Faces, StoredFace
from portraitd.store.files import Files, KnownFile
from portraitd.store.gallery_history import GalleryHistory
from portraitd.store.people import GroupingRun, People
from portraitd.store.publications import Publications
from portraitd.store.queue_stats import QueueStats
from portraitd.store.remote_workers import ClusterState, RemoteWorker, RemoteWorkers
from portraitd.store.slices import ClaimedSlice, SliceQueue
from portraitd.store.tracks import TrackStore

__all__ = [
    "Appearances",
    "GroupingRun",
    "ClusterState",
    "RemoteWorkers",
    "RemoteWorker",
    "Database",
    "Faces",
    "Files",
    "Eraser",
    "KnownFile",
    "Ledger",
    "People",
    "Publications",
    "GalleryHistory",
    "QueueStats",
    "StoreLock",
    "StoredFace",
    "ClaimedSlice",
    "TrackStore",
    "BlockedStages",
    "EditRecorder",
    "SliceQueue",
]
