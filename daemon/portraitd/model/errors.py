"""Errors, sorted by who must act.

::

    PortraitdError
    ├── ConfigError          the operator; exit 78, systemd does not restart
    │   └── ModelError       a model file is missing, damaged, or not the expected one
    ├── AlreadyRunning       no action: another portraitd holds this home; exit 75
    ├── VideoError           the person who dropped the file; the file fails with this reason
    │   ├── NotMedia         the content is neither a video nor a photo
    │   ├── UnreadableVideo  the container opened, but no frame could be decoded
    │   ├── UnsafeFile       not a regular file (link, pipe, socket)
    │   └── FileChanged      written, replaced or removed while it was read; scanned again
    ├── WorkerDied           no action: a worker crashed, hung or was killed; the job is retried
    │   └── WorkerNotStarted the machine: a worker ended before it had read anything
    ├── WorkersUnavailable   no action: scheduler or host unreachable; the job goes elsewhere
    ├── StoreError           the machine (disk full); back off
    │   ├── UnusableStore    the operator: damaged database, or of a newer portraitd; exit 65
    │   └── RefusedRow       no action: the job whose result was stored; its attempt has failed
    ├── StillBlocked         the machine; a command that is to end gives up after a while
    └── PublishError         the machine (share not mounted, read-only); back off
        ├── FoldersUnavailable   the machine: some folders of the tree; the others are written
        ├── TreeInUse        no action: another portraitd works on the tree; waits until it ends
        └── ForeignTree      the operator: the tree belongs to another store

Errors that leave a worker process carry one argument, a sentence or a reason: an exception whose
``__init__`` takes more cannot be unpickled on the other side.
"""

from __future__ import annotations

from typing import ClassVar

from portraitd.model.reasons import Reason, ReasonCode


class PortraitdError(Exception):
    """Base class of all errors that portraitd raises on purpose.

    Attributes:
        code: Code of an error that is raised with a sentence only.
    """

    code: ClassVar[ReasonCode] = ReasonCode.OTHER

    def __init__(self, reason: str | Reason = "") -> None:
        super().__init__(reason)

    def __str__(self) -> str:
        return self.reason.text

    @property
    def reason(self) -> Reason:
        """The code and sentence of the error.

        A compromised worker can put anything into an error; the result is a reason all the same.
        """
        given = self.args[0] if self.args else ""
        if isinstance(given, str):
            return Reason(self.code, given)
        code, text = getattr(given, "code", None), getattr(given, "text", None)
        if isinstance(code, ReasonCode) and isinstance(text, str):
            return Reason(code or self.code, text)
        return Reason(self.code, type(self).__name__)


class ConfigError(PortraitdError):
    """The configuration or the command line is wrong. Names the key and what to write."""

    code = ReasonCode.CONFIGURATION


class ModelError(ConfigError):
    """A model file is missing, damaged, or not the expected one. Says how to get it."""


class AlreadyRunning(PortraitdError):
    """Another portraitd works on this home."""

    code = ReasonCode.ALREADY_RUNNING


class VideoError(PortraitdError):
    """A file cannot be processed. The file is at fault; other files are not."""

    code = ReasonCode.NOT_MEDIA


class NotMedia(VideoError):
    """The content is neither a video nor a photo that portraitd reads."""


class UnreadableVideo(VideoError):
    """The container opened, but no frame could be decoded."""

    code = ReasonCode.NO_FRAME_DECODED


class UnsafeFile(VideoError):
    """Not a regular file: a symbolic link, a pipe, a socket or a device."""

    code = ReasonCode.NOT_A_REGULAR_FILE


class FileChanged(VideoError):
    """The file was written, replaced or removed while it was read."""

    code = ReasonCode.CHANGED_WHILE_READ


class WorkerDied(PortraitdError):
    """A worker process crashed, hung or was killed. The job can be retried."""

    code = ReasonCode.WORKER_DIED


class WorkerNotStarted(WorkerDied):
    """A worker process could not start, so it has read nothing: no file is at fault."""


class WorkersUnavailable(PortraitdError):
    """The machine that runs a job cannot be reached. The job is unchanged."""

    code = ReasonCode.WORKERS_UNAVAILABLE


class StoreError(PortraitdError):
    """The database cannot be read or written."""

    code = ReasonCode.STORE_FAILED


class UnusableStore(StoreError):
    """The database is damaged, or was written by a newer portraitd. Trying again does not help."""


class RefusedRow(StoreError):
    """A row violates a constraint. The database is sound; the same values would fail again."""

    code = ReasonCode.INVALID_RESULT


class StillBlocked(PortraitdError):
    """A stage stays blocked, and a command that is to end by itself gives up."""

    code = ReasonCode.PUBLISHING_FAILED


class PublishError(PortraitdError):
    """The people tree cannot be written."""

    code = ReasonCode.PUBLISHING_FAILED


class FoldersUnavailable(PublishError):
    """Some folders of the people tree cannot be read or written; the others can."""

    code = ReasonCode.FOLDERS_UNAVAILABLE


class TreeInUse(PublishError):
    """Another portraitd works on the people tree."""

    code = ReasonCode.TREE_IN_USE


class ForeignTree(PublishError):
    """The people tree belongs to another store."""

    code = ReasonCode.TREE_OF_ANOTHER_STORE


def is_of_machine(error: BaseException) -> bool:
    """Return whether the machine keeps a result from being stored: the result is not at fault."""
    return isinstance(error, StoreError) and not isinstance(error, RefusedRow)


def code_of(error: BaseException) -> ReasonCode:
    """Return the reason code of an error, also of one that portraitd did not define."""
    return error.reason.code if isinstance(error, PortraitdError) else ReasonCode.UNEXPECTED_ERROR
