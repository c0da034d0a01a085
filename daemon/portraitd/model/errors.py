"""Errors, sorted by who must act.

::

    PortraitdError
    ├── ConfigError          the operator; exit 78, systemd does not restart
    │   └── ModelError       a model file is missing, damaged, or not the one it should be
    ├── AlreadyRunning       nobody: another portraitd holds this home; exit 75
    ├── VideoError           whoever dropped the file; it goes to failed with this reason
    │   ├── NotMedia         the content is no video and no photo
    │   ├── UnreadableVideo  a container was opened, but no frame could be decoded
    │   ├── UnsafeFile       not a regular file (link, pipe, socket)
    │   └── FileChanged      written, replaced or removed while it was read; looked at again
    ├── WorkerDied           nobody: a worker process crashed, hung or was killed; retried
    ├── WorkersAway          the machine: a scheduler or a host is out of reach; given elsewhere
    ├── StoreError           the machine (disk full, damaged database); back off
    └── PublishError         the machine (share away, read-only); back off
        ├── MassDisappearance    the operator: `portraitd accept`, or the share comes back
        └── ForeignTree          the operator: the tree is another store's

Those that leave a worker process carry one message and nothing else: an exception whose
``__init__`` takes more cannot be unpickled on the other side.
"""


class PortraitdError(Exception):
    """Everything portraitd raises on purpose."""


class ConfigError(PortraitdError):
    """The configuration or the command line is wrong. Says which key and what to write."""


class ModelError(ConfigError):
    """A model file is missing, damaged, or not the one it should be. Says how to get it."""


class AlreadyRunning(PortraitdError):
    """Another portraitd works on this home."""


class VideoError(PortraitdError):
    """A file cannot be processed. The file is at fault; other files are not."""


class NotMedia(VideoError):
    """The content is neither a video nor a photo that portraitd reads."""


class UnreadableVideo(VideoError):
    """A container was opened, but no frame could be decoded."""


class UnsafeFile(VideoError):
    """Not a regular file: a symbolic link, a pipe, a socket or a device."""


class FileChanged(VideoError):
    """The file was written, replaced or removed while it was read."""


class WorkerDied(PortraitdError):
    """A worker process crashed, hung or was killed. The job may be tried again."""


class WorkersAway(PortraitdError):
    """The machine that runs a job, or the way to it, is gone. The job is as it was."""


class StoreError(PortraitdError):
    """The database cannot be read or written."""


class PublishError(PortraitdError):
    """The people tree cannot be written."""


class MassDisappearance(PublishError):
    """Much of the people tree is gone at once. No decision is taken."""


class ForeignTree(PublishError):
    """The people tree belongs to another store."""
