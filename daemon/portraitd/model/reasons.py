"""Why a file, a video or a stage is in its state: a code for programs, one sentence for people.

Also why a face is not in a training set. Programs compare codes; nothing reads the sentence. This
module is the only place that makes it, except those of ``NOTICES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from string import Formatter
from typing import Any, Self

from portraitd.model.wording import counted


class ReasonCode(StrEnum):
    """Reasons, as they are stored, logged and printed in JSON. A code never changes its meaning."""

    NONE = ""
    OTHER = "other"

    # The file is waiting: it may still be written.
    STILL_CHANGING = "still_changing"
    OPEN_FOR_WRITING = "open_for_writing"
    CANNOT_TELL_IF_OPEN = "cannot_tell_if_open"

    # The file is incomplete: it waits, and fails if it is processed as it is.
    EMPTY = "empty"
    PREALLOCATED = "preallocated"
    ONLY_ZEROS = "only_zeros"
    INDEX_MISSING = "index_missing"
    BYTES_MISSING = "bytes_missing"

    # The path is not a regular file that can be read.
    SYMBOLIC_LINK = "symbolic_link"
    PIPE = "pipe"
    SOCKET = "socket"
    DEVICE = "device"
    NOT_A_REGULAR_FILE = "not_a_regular_file"
    CANNOT_READ = "cannot_read"
    CANNOT_LIST = "cannot_list"
    IGNORED_NAME = "ignored_name"
    NO_SUCH_FILE = "no_such_file"
    REMOVED = "removed"
    CHANGED_WHILE_READ = "changed_while_read"

    # The content is not a video or photo that can be decoded.
    NOT_MEDIA = "not_media"
    OTHER_FILE_TYPE = "other_file_type"
    TEXT_FILE = "text_file"
    PLAYLIST = "playlist"
    SOUND_ONLY = "sound_only"
    UNKNOWN_FORMAT = "unknown_format"
    UNSUPPORTED_FORMAT = "unsupported_format"
    ENCRYPTED = "encrypted"
    NO_PICTURES = "no_pictures"
    INDEX_DAMAGED = "index_damaged"
    NO_FRAME_DECODED = "no_frame_decoded"
    PHOTO_NOT_DECODED = "photo_not_decoded"
    PHOTO_CUT_SHORT = "photo_cut_short"
    CAMERA_RAW = "camera_raw"
    FRAME_NOT_CONVERTED = "frame_not_converted"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LARGE = "too_large"
    TOO_MUCH_WORK = "too_much_work"
    PARTLY_DECODED = "partly_decoded"

    # The picture is to say who a person is, and does not.
    NOT_A_PHOTO = "not_a_photo"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"

    # The content is known already.
    DUPLICATE_OF = "duplicate_of"
    DUPLICATE_OF_FAILED = "duplicate_of_failed"
    PARTIAL_COPY_OF = "partial_copy_of"
    SAME_PICTURES_AS = "same_pictures_as"
    METADATA_CHANGED = "metadata_changed"
    RECORDING_MOVED = "recording_moved"
    ERASED = "erased"
    ERASED_EARLIER = "erased_earlier"
    EXPIRED = "expired"

    # A job failed, whatever the content is.
    WORKER_DIED = "worker_died"
    WORKER_NOT_STARTED = "worker_not_started"
    WORKER_KILLED = "worker_killed"
    WORKER_EXITED = "worker_exited"
    OUT_OF_MEMORY = "out_of_memory"
    CPU_LIMIT = "cpu_limit"
    TIMEOUT = "timeout"
    INVALID_RESULT = "invalid_result"
    UNEXPECTED_ERROR = "unexpected_error"
    FILE_REFUSED = "file_refused"
    WORKERS_LOST = "workers_lost"
    INTERRUPTED = "interrupted"
    WORKERS_UNAVAILABLE = "workers_unavailable"
    WORKER_UNUSABLE = "worker_unusable"
    WORKER_VERSION = "worker_version"
    WORKER_ENCODER = "worker_encoder"
    TRACKING_PAUSED = "tracking_paused"
    TRACKING_FAILED = "tracking_failed"
    GROUPING_FAILED = "grouping_failed"
    REEMBEDDING_PAUSED = "reembedding_paused"

    # A folder or the machine blocks a stage.
    INBOX_UNAVAILABLE = "inbox_unavailable"
    INBOX_MARKER_MISSING = "inbox_marker_missing"
    SHARE_NOT_RESPONDING = "share_not_responding"
    STORE_FAILED = "store_failed"
    PUBLISHING_FAILED = "publishing_failed"
    PORTRAITS_DISAPPEARED = "portraits_disappeared"
    FOLDERS_UNAVAILABLE = "folders_unavailable"
    EVENTS_NOT_WRITTEN = "events_not_written"
    TREE_OF_ANOTHER_STORE = "tree_of_another_store"
    RETENTION_CLOCK = "retention_clock"
    RETENTION_MANY = "retention_many"
    TREE_IN_USE = "tree_in_use"
    CONFIGURATION = "configuration"
    ALREADY_RUNNING = "already_running"

    # A reviewer did something in the people tree that was not understood, or has no effect.
    NAME_UNUSABLE = "name_unusable"
    NUMBER_OF_ANOTHER = "number_of_another"
    NUMBER_AS_NAME = "number_as_name"
    FOLDER_IN_UNSORTED = "folder_in_unsorted"
    FOLDER_MISPLACED = "folder_misplaced"
    FOLDER_COPIED = "folder_copied"
    OWN_FOLDER_MOVED = "own_folder_moved"
    FOLDER_TOO_DEEP = "folder_too_deep"
    PORTRAITS_COPIED = "portraits_copied"
    PORTRAITS_NOT_SHOWN = "portraits_not_shown"
    EDIT_NOT_UNDONE = "edit_not_undone"
    ANSWER_OUTDATED = "answer_outdated"
    ANSWER_NUMBERS = "answer_numbers"
    REFERENCE_WITHOUT_FACE = "reference_without_face"
    REFERENCE_OF_SEVERAL = "reference_of_several"
    REFERENCE_UNREADABLE = "reference_unreadable"
    REFERENCE_OF_TWO = "reference_of_two"
    REFERENCE_WITHOUT_NAME = "reference_without_name"
    TOO_MANY_REFERENCES = "too_many_references"
    REFERENCE_UNDONE = "reference_undone"
    REGION_WITHOUT_FACE = "region_without_face"
    REGION_OF_SEVERAL = "region_of_several"
    REGION_NAME_UNUSABLE = "region_name_unusable"
    SIDECAR_LEFT_ALONE = "sidecar_left_alone"
    SIDECAR_NOT_WRITTEN = "sidecar_not_written"

    # A person is not in a training set.
    CONSENT_MISSING = "consent_missing"
    CONSENT_EXPIRED = "consent_expired"
    CONSENT_UNREADABLE = "consent_unreadable"

    # A face is not in a training set.
    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    UNCERTAIN = "uncertain"
    TURNED_AWAY = "turned_away"
    NEAR_DUPLICATE = "near_duplicate"
    ERASED_NEARBY = "erased_nearby"
    IN_ANOTHER_SPLIT = "in_another_split"

    # A box of another program was not taken over.
    IMAGE_UNKNOWN = "image_unknown"
    RECORDING_AMBIGUOUS = "recording_ambiguous"
    SIZE_DIFFERS = "size_differs"
    FRAME_UNKNOWN = "frame_unknown"
    FRAMES_UNREADABLE = "frames_unreadable"
    LABEL_UNKNOWN = "label_unknown"
    LABEL_AMBIGUOUS = "label_ambiguous"
    SHAPE_NOT_READ = "shape_not_read"
    BOX_UNUSABLE = "box_unusable"
    BOX_AMBIGUOUS = "box_ambiguous"
    BOX_ERASED = "box_erased"
    FACE_HIDDEN = "face_hidden"
    FACE_GONE = "face_gone"
    FACE_NEWER = "face_newer"
    FACE_MISSING = "face_missing"

    # `explain` only: why nothing is stored about a path.
    NOT_IN_INBOX = "not_in_inbox"
    IS_FOLDER = "is_folder"
    NOT_SCANNED_YET = "not_scanned_yet"

    @classmethod
    def _missing_(cls, value: object) -> ReasonCode:
        """Return ``OTHER`` for a code that another version wrote."""
        return cls.OTHER


INCOMPLETE = frozenset({
    ReasonCode.EMPTY, ReasonCode.PREALLOCATED, ReasonCode.ONLY_ZEROS, ReasonCode.INDEX_MISSING,
    ReasonCode.BYTES_MISSING,
})  # fmt: skip
"""Reasons to wait for the rest of a file, up to ``inbox.unfinished_s``."""

INACCESSIBLE = frozenset({ReasonCode.CANNOT_READ, ReasonCode.CANNOT_LIST})
"""Reasons that can pass without a change of the file: it waits, and is tried at every scan."""

LEFT_OUT = (
    ReasonCode.TOO_SMALL, ReasonCode.BLURRED, ReasonCode.UNCERTAIN, ReasonCode.TURNED_AWAY,
    ReasonCode.NEAR_DUPLICATE, ReasonCode.ERASED_NEARBY, ReasonCode.IN_ANOTHER_SPLIT,
)  # fmt: skip
"""Reasons to leave a face out of a training set; the first that applies counts."""

NOTICES = frozenset({
    ReasonCode.NAME_UNUSABLE, ReasonCode.NUMBER_OF_ANOTHER, ReasonCode.NUMBER_AS_NAME,
    ReasonCode.FOLDER_IN_UNSORTED, ReasonCode.FOLDER_MISPLACED,
    ReasonCode.FOLDER_COPIED, ReasonCode.OWN_FOLDER_MOVED, ReasonCode.FOLDER_TOO_DEEP,
    ReasonCode.PORTRAITS_COPIED, ReasonCode.PORTRAITS_NOT_SHOWN,
    ReasonCode.EDIT_NOT_UNDONE, ReasonCode.ANSWER_OUTDATED,
    ReasonCode.ANSWER_NUMBERS,
    ReasonCode.REFERENCE_WITHOUT_FACE, ReasonCode.REFERENCE_OF_SEVERAL,
    ReasonCode.REFERENCE_UNREADABLE, ReasonCode.REFERENCE_OF_TWO,
    ReasonCode.REFERENCE_WITHOUT_NAME, ReasonCode.TOO_MANY_REFERENCES,
    ReasonCode.REFERENCE_UNDONE, ReasonCode.REGION_WITHOUT_FACE,
    ReasonCode.REGION_OF_SEVERAL, ReasonCode.REGION_NAME_UNUSABLE,
    ReasonCode.SIDECAR_LEFT_ALONE, ReasonCode.SIDECAR_NOT_WRITTEN,
})  # fmt: skip
"""Codes of notices to reviewers, whose sentences are among the texts of the pages: they are read
there, in several languages."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason code with its sentence; false if there is no reason."""

    code: ReasonCode
    text: str

    @classmethod
    def of(cls, code: ReasonCode, **facts: Any) -> Self:
        """Make the sentence of a code.

        Args:
            code: One that has a sentence of its own.
            facts: The values named in that sentence.

        Raises:
            KeyError: The sentence needs another fact, or the code has no sentence.
        """
        return cls(code, _SENTENCES.vformat(_TEXTS[code], (), facts))

    def __str__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return self.code is not ReasonCode.NONE


NO_REASON = Reason(ReasonCode.NONE, "")


class _Sentences(Formatter):
    """``str.format``, and ``{count:byte|bytes}`` for a number with its noun."""

    def format_field(self, value: Any, format_spec: str) -> str:
        singular, separator, plural = format_spec.partition("|")
        if separator:
            return counted(value, singular, plural)
        return str(super().format_field(value, format_spec))


_SENTENCES = _Sentences()

_TEXTS = {
    ReasonCode.STILL_CHANGING: "waiting until the file stops changing",
    ReasonCode.OPEN_FOR_WRITING: "another program has the file open for writing",
    ReasonCode.CANNOT_TELL_IF_OPEN: (
        "cannot tell whether another program is still writing this file (network mount); waiting "
        "until it is unchanged for {quiet_s:g} s"
    ),
    ReasonCode.EMPTY: "the file is empty",
    ReasonCode.PREALLOCATED: (
        "the file is preallocated and mostly empty: probably still being copied"
    ),
    ReasonCode.ONLY_ZEROS: "incomplete: the file starts with zeros only",
    ReasonCode.INDEX_MISSING: "incomplete: the index at the end of the file is missing",
    ReasonCode.BYTES_MISSING: "incomplete: {missing:byte|bytes} missing at the end of the file",
    ReasonCode.SYMBOLIC_LINK: "a symbolic link; portraitd does not follow links",
    ReasonCode.PIPE: "a pipe, not a regular file",
    ReasonCode.SOCKET: "a socket, not a regular file",
    ReasonCode.DEVICE: "a device, not a regular file",
    ReasonCode.NOT_A_REGULAR_FILE: "not a regular file",
    ReasonCode.CANNOT_READ: "cannot read the file: {error}",
    ReasonCode.CANNOT_LIST: "cannot list the folder: {error}",
    ReasonCode.IGNORED_NAME: "ignored because of its name (hidden, temporary or system file)",
    ReasonCode.NO_SUCH_FILE: "no such file",
    ReasonCode.REMOVED: "the file was removed or renamed",
    ReasonCode.CHANGED_WHILE_READ: "the file was written or replaced while it was being read",
    ReasonCode.OTHER_FILE_TYPE: "{kind}, not a video or photo",
    ReasonCode.TEXT_FILE: "a text file, not a video or photo",
    ReasonCode.PLAYLIST: "a playlist that refers to other files; drop the video itself",
    ReasonCode.SOUND_ONLY: "an audio file without video; cover art is not processed",
    ReasonCode.UNKNOWN_FORMAT: "the start of the file is damaged, or its format is not supported",
    ReasonCode.UNSUPPORTED_FORMAT: (
        "{format}, a format that is not supported; convert the file, for instance to MP4 or JPEG"
    ),
    ReasonCode.ENCRYPTED: "the video is encrypted; drop a copy without copy protection",
    ReasonCode.NO_PICTURES: (
        "the file contains no pictures: only audio or text, or its index is damaged"
    ),
    ReasonCode.INDEX_DAMAGED: "the index of the file is damaged, or its codec is not supported",
    ReasonCode.NO_FRAME_DECODED: (
        "no frame could be decoded{codec}: the file is damaged, or its codec is not supported; "
        "try re-encoding it"
    ),
    ReasonCode.PHOTO_NOT_DECODED: "the {format} photo could not be decoded: it is damaged",
    ReasonCode.PHOTO_CUT_SHORT: "the end of the photo is missing; the rest was read",
    ReasonCode.CAMERA_RAW: "a camera raw file ({kind}); drop its JPEG or HEIC instead",
    ReasonCode.FRAME_NOT_CONVERTED: "no frame could be converted: {error}",
    ReasonCode.TOO_MANY_PIXELS: (
        "{width} x {height} pixels are {megapixels:.0f} megapixels; the limit is {limit:.0f}"
    ),
    ReasonCode.TOO_LARGE: (
        "the file begins like a picture and has {size:byte|bytes}; the limit is {limit:byte|bytes}"
    ),
    ReasonCode.TOO_MUCH_WORK: (
        "decoding the file takes far longer than its size warrants ({work}): it is damaged, or "
        "made to keep a worker busy"
    ),
    ReasonCode.PARTLY_DECODED: "only {decoded_s:.1f} s of {duration_s:.1f} s could be decoded",
    ReasonCode.NOT_A_PHOTO: "a video; only a photo is accepted here",
    ReasonCode.NO_FACE: "no face was found in the picture",
    ReasonCode.SEVERAL_FACES: (
        "{count:face|faces} were found in the picture, and none is clearly the largest"
    ),
    ReasonCode.DUPLICATE_OF: "same content as {name}",
    ReasonCode.DUPLICATE_OF_FAILED: "same content as {name}, which failed: {cause}",
    ReasonCode.PARTIAL_COPY_OF: "partial copy of {name}",
    ReasonCode.SAME_PICTURES_AS: "same pictures as {name}, with other metadata",
    ReasonCode.METADATA_CHANGED: (
        "same pictures as {name} before, with other metadata; its faces and corrections are kept"
    ),
    ReasonCode.RECORDING_MOVED: (
        "same content as {name}, which was removed or renamed; its faces and corrections are kept"
    ),
    ReasonCode.ERASED: "erased on {day}",
    ReasonCode.EXPIRED: (
        "erased on {day}, because it is older than {days} (privacy.keep_days); to have it "
        "processed again, drop it again"
    ),
    ReasonCode.RETENTION_CLOCK: (
        "no video is erased because of its age: the clock shows {now}, is not synchronised, and "
        "was last right on {last}; set the clock or, if it is right, run `portraitd accept`"
    ),
    ReasonCode.RETENTION_MANY: (
        "privacy.keep_days would now erase {due:video|videos} of {total}; check this setting and "
        "the clock, which shows {now}, and run `portraitd accept` to erase them"
    ),
    ReasonCode.ERASED_EARLIER: (
        "the content was erased with `portraitd forget`; see privacy.dropped_again"
    ),
    ReasonCode.UNEXPECTED_ERROR: "unexpected {kind}: {error}",
    ReasonCode.WORKER_NOT_STARTED: (
        "no worker process can be started: {program} cannot be run by user {user}; give that user "
        "access to it, and to the folders above"
    ),
    ReasonCode.WORKER_KILLED: "the worker was killed by {signal}",
    ReasonCode.WORKER_EXITED: "the worker exited without a result (exit code {exit_code})",
    ReasonCode.OUT_OF_MEMORY: "the worker ran out of memory",
    ReasonCode.CPU_LIMIT: "the worker used more CPU time than its limit and was killed",
    ReasonCode.TIMEOUT: "the worker took longer than {limit_s:.0f} s and was killed",
    ReasonCode.INVALID_RESULT: "invalid result from worker: {error}",
    ReasonCode.FILE_REFUSED: "the worker refused the file {count} times in a row",
    ReasonCode.INTERRUPTED: (
        "the service was killed {count:time|times} while a worker read this file, at last with no "
        "other job running; see its log"
    ),
    ReasonCode.WORKERS_LOST: "{count} workers were lost while they ran the job, the last: {cause}",
    ReasonCode.WORKER_UNUSABLE: "{problem}",
    ReasonCode.WORKER_VERSION: (
        "the worker runs portraitd {there}, the service {here}; install the same version"
    ),
    ReasonCode.WORKER_ENCODER: (
        "different encoder: {there!r} on the worker, {here!r} here; add or remove the same models "
        "there"
    ),
    ReasonCode.TRACKING_PAUSED: "tracking the faces of video {video} failed: {error}",
    ReasonCode.TRACKING_FAILED: "faces could not be tracked ({error}); they stay unassigned",
    ReasonCode.GROUPING_FAILED: "grouping failed: {error}",
    ReasonCode.REEMBEDDING_PAUSED: "embedding the stored faces with another model failed: {error}",
    ReasonCode.SHARE_NOT_RESPONDING: "{folder}: the share does not respond",
    ReasonCode.PORTRAITS_DISAPPEARED: (
        "{missing} of {published} portraits in {root} are missing, more than a reviewer usually "
        "deletes; the share may not be mounted. Other edits take effect. If they were deleted on "
        "purpose, run `portraitd accept`; to have them written again, `portraitd accept --put-back`"
    ),
    ReasonCode.FOLDERS_UNAVAILABLE: (
        "{count:folder|folders} of {root} cannot be read or written: {folders}. Everything else is "
        "up to date. Give portraitd's group access, for instance with `chmod -R g+rwX`"
    ),
    ReasonCode.EVENTS_NOT_WRITTEN: (
        "{path} cannot be written: {cause}. The events are kept and written later; everything else "
        "continues"
    ),
    ReasonCode.TREE_IN_USE: "{root}: {cause}",
    ReasonCode.INBOX_UNAVAILABLE: "{inbox}: {cause}",
    ReasonCode.INBOX_MARKER_MISSING: (
        "the inbox marker {marker} is missing: the share is probably not mounted. If {inbox} is "
        "the inbox, run `portraitd init`"
    ),
    ReasonCode.CONSENT_MISSING: "no file in their folder says that they agree",
    ReasonCode.CONSENT_EXPIRED: "they agreed until {until}",
    ReasonCode.CONSENT_UNREADABLE: (
        "{name!r} does not say until when; call it as in 'consent until 2027-05-31.pdf'"
    ),
    ReasonCode.TOO_SMALL: "smaller than {min_px:g} px (dataset.min_px)",
    ReasonCode.BLURRED: (
        "blurred or covered: sharpness below {min_sharpness:g} (dataset.min_sharpness)"
    ),
    ReasonCode.UNCERTAIN: (
        "the detector is not certain: confidence below {min_confidence:g} (dataset.min_confidence)"
    ),
    ReasonCode.TURNED_AWAY: "turned away by more than {max_turn:g} (dataset.max_turn)",
    ReasonCode.NEAR_DUPLICATE: "like an earlier face of the same person",
    ReasonCode.ERASED_NEARBY: "next to a face that was erased",
    ReasonCode.IN_ANOTHER_SPLIT: "would show the same shot or person in two splits",
    ReasonCode.IMAGE_UNKNOWN: "no video or photo of this home is shown by it",
    ReasonCode.RECORDING_AMBIGUOUS: (
        "it may be of several videos or photos; name the one with --recording"
    ),
    ReasonCode.SIZE_DIFFERS: "the video or photo has another size",
    ReasonCode.FRAME_UNKNOWN: "the video has no such frame",
    ReasonCode.FRAMES_UNREADABLE: (
        "the file of the video or photo is missing or cannot be read, and so no face in it"
    ),
    ReasonCode.LABEL_UNKNOWN: (
        "no person has this label as a name; name the person in people/, and import again"
    ),
    ReasonCode.LABEL_AMBIGUOUS: "several people have this label as a name",
    ReasonCode.SHAPE_NOT_READ: "only upright boxes are read",
    ReasonCode.BOX_UNUSABLE: "the box is outside of the picture or too small",
    ReasonCode.BOX_AMBIGUOUS: "the box may be for several faces, or several boxes for one face",
    ReasonCode.BOX_ERASED: "a face was erased here with `portraitd forget`",
    ReasonCode.FACE_HIDDEN: (
        "the face was deleted or ignored earlier; undo that entry to have it back"
    ),
    ReasonCode.FACE_GONE: "the face that the box was exported for is no longer in the store",
    ReasonCode.FACE_NEWER: "the face was found after the file was exported, so it is kept",
    ReasonCode.FACE_MISSING: ("the face has no box in the file; add --delete-missing to delete it"),
    ReasonCode.NOT_IN_INBOX: "the file is not in the inbox, {inbox}",
    ReasonCode.IS_FOLDER: "a folder; each file in it is processed separately",
    ReasonCode.NOT_SCANNED_YET: "not scanned yet",
}
