"""How results of workers come back: as plain data, checked on arrival.

A worker may have been taken over by the file it reads, so its answers are foreign bytes. They are
MessagePack, which can name no function and no type. The reader says what it expects: each job
declares a ``ResultSchema`` with its fields, their bounds and, from the arguments of the job, what
they can be. What differs in anything is an error of that job.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec

from portraitd.model import errors
from portraitd.model.errors import PortraitdError, WorkerDied
from portraitd.model.reasons import Reason, ReasonCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

MAX_TEXT = 4096
"""Largest number of characters of a sentence."""

MAX_NUMBER = 1 << 62

_MEMORY = "MemoryError"

_SURROGATES = re.compile("[\ud800-\udfff]")

_OF_THE_SERVICE = frozenset({
    ReasonCode.DUPLICATE_OF, ReasonCode.DUPLICATE_OF_FAILED, ReasonCode.PARTIAL_COPY_OF,
    ReasonCode.SAME_PICTURES_AS, ReasonCode.METADATA_CHANGED, ReasonCode.RECORDING_MOVED,
    ReasonCode.ERASED, ReasonCode.ERASED_EARLIER, ReasonCode.INBOX_UNAVAILABLE,
    ReasonCode.INBOX_MARKER_MISSING, ReasonCode.SHARE_NOT_RESPONDING, ReasonCode.STORE_FAILED,
    ReasonCode.PUBLISHING_FAILED, ReasonCode.PORTRAITS_DISAPPEARED,
    ReasonCode.TREE_OF_ANOTHER_STORE, ReasonCode.CONFIGURATION, ReasonCode.ALREADY_RUNNING,
    ReasonCode.TRACKING_PAUSED, ReasonCode.TRACKING_FAILED, ReasonCode.GROUPING_FAILED,
    ReasonCode.REEMBEDDING_PAUSED, ReasonCode.INTERRUPTED, ReasonCode.WORKERS_LOST,
    ReasonCode.WORKERS_UNAVAILABLE, ReasonCode.NONE,
})  # fmt: skip
"""Codes that say what the service knows, which a worker cannot. The error has its own then."""


class Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Base of the parts of a message."""


class ValueMessage(Record, Generic[T], tag="value"):
    """The value of a job.

    Attributes:
        number: Number of the job.
    """

    number: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
    value: T


class ErrorMessage(Record, tag="error"):
    """What a job raised.

    Attributes:
        number: Number of the job.
        kind: Name of a class in ``model.errors``, or ``MemoryError``.
        code, text: The reason.
    """

    number: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
    kind: Annotated[str, msgspec.Meta(max_length=64)]
    code: Annotated[str, msgspec.Meta(max_length=64)]
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class StaleAnswer(WorkerDied):
    """A worker answered another job than the one it has."""


class ResultSchema(Generic[T]):
    """What a job returns, and how it is sent.

    Args:
        wire: The type of what is sent, with its bounds, as msgspec reads them.
        pack: Turns a result into that type.
        unpack: Turns it back, given the arguments of the job as well. Raises ``ValueError`` for
            what is not possible for these arguments.
        errors: What the job may raise besides ``WorkerDied``.
        max_bytes: Largest message.
    """

    def __init__(
        self,
        wire: Any,
        pack: Callable[[T], Any],
        unpack: Callable[..., T],
        *,
        errors: tuple[type[PortraitdError], ...] = (),
        max_bytes: int = 1 << 20,
    ) -> None:
        self._wire = wire
        self._pack = pack
        self._unpack = unpack
        self._errors = (*errors, WorkerDied)
        self.max_bytes = max_bytes

    @cached_property
    def _decoder(self) -> msgspec.msgpack.Decoder[Any]:
        message = ValueMessage[self._wire] | ErrorMessage  # type: ignore[name-defined]
        return msgspec.msgpack.Decoder(message, dec_hook=_read_path)

    def encode(self, number: int, value: T) -> bytes:
        """Return the message with the value of a job.

        Raises:
            WorkerDied: It is not what this job may return.
        """
        try:
            message = msgspec.msgpack.encode(
                ValueMessage(number, self._pack(value)), enc_hook=_write_path
            )
        except Exception as error:
            # A bug in the job, which must not end the worker.
            raise _invalid(f"it cannot be sent: {type(error).__name__}: {error}") from error
        if len(message) > self.max_bytes:
            raise _invalid(f"{len(message)} bytes; at most {self.max_bytes} are possible")
        return message

    def decode(
        self,
        message: bytes,
        number: int,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        more_errors: tuple[type[PortraitdError], ...] = (),
    ) -> T:
        """Return the value that a message holds, if it is possible for the job.

        Args:
            message: Any bytes.
            number: Number of the job.
            args, kwargs: The arguments of the job.
            more_errors: What may be raised where the job runs, besides its own errors.

        Raises:
            StaleAnswer: It is about another job.
            WorkerDied: It is damaged, or says what this job cannot return or raise.
            PortraitdError: What the job raised.
        """
        if len(message) > self.max_bytes:
            raise _invalid(f"{len(message)} bytes; at most {self.max_bytes} are possible")
        try:
            found = self._decoder.decode(message)
            if found.number != number:
                raise StaleAnswer(Reason.of(ReasonCode.INVALID_RESULT, error="of another job"))
            if isinstance(found, ValueMessage):
                return self._unpack(found.value, *args, **kwargs)
        except StaleAnswer:
            raise
        except Exception as error:
            # Any exception: a compromised worker may have sent anything.
            raise _invalid(str(error)) from error
        raise _error_of(found, (*more_errors, *self._errors))


def encode_error(number: int, error: BaseException) -> bytes:
    """Return the message with what a job raised."""
    if isinstance(error, MemoryError):
        reason = Reason.of(ReasonCode.OUT_OF_MEMORY)
        return _encode_error(number, _MEMORY, reason)
    if not isinstance(error, PortraitdError):
        kind = type(error).__name__
        reason = Reason.of(ReasonCode.UNEXPECTED_ERROR, kind=kind, error=error)
        return _encode_error(number, WorkerDied.__name__, reason)
    return _encode_error(number, type(error).__name__, error.reason)


def _encode_error(number: int, kind: str, reason: Reason) -> bytes:
    message = ErrorMessage(number, kind, str(reason.code), plain_text(reason.text))
    return msgspec.msgpack.encode(message)


def plain_text(value: object) -> str:
    """Return a text that can be sent, stored and logged, whatever a library or a peer wrote."""
    try:
        text = str(value)
    except Exception as error:
        # Of an exception from another machine, for instance.
        text = type(error).__name__
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    # A name of a file that is not UTF-8.
    return _SURROGATES.sub("\ufffd", text)


def pack_plain(value: T) -> T:
    """Return a result that is plain data already, to be sent as it is."""
    return value


def _write_path(value: object) -> bytes:
    if isinstance(value, Path):
        return os.fsencode(value)
    raise NotImplementedError(f"a {type(value).__name__} is not plain data")


def _read_path(kind: type, value: object) -> Path:
    if kind is not Path or not isinstance(value, bytes) or b"\0" in value:
        raise ValueError(f"not a {kind.__name__}")
    return Path(os.fsdecode(value))


# --- Arrays.


class Array(Record):
    """An array: what its bytes are, and the bytes."""

    dtype: Annotated[str, msgspec.Meta(max_length=8)]
    shape: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]], msgspec.Meta(max_length=4)
    ]
    data: bytes


def pack_array(values: NDArray[Any], dtype: str) -> Array:
    """Return an array for a message.

    Args:
        values: The array.
        dtype: As numpy writes it, with the order of bytes: ``<i8``, ``<f4``, ``|b1``.
    """
    import numpy as np

    plain = np.ascontiguousarray(values, dtype)
    return Array(dtype, list(values.shape), plain.tobytes())


def unpack_array(found: Array, dtype: str, *shape: int | None) -> NDArray[Any]:
    """Return an array of a message, which belongs to the caller.

    Args:
        found: From the message.
        dtype: The one that it must have.
        shape: The length of each axis; None for any.

    Raises:
        ValueError: It has another type or shape, or other than its own number of bytes.
    """
    import numpy as np

    if found.dtype != dtype:
        raise ValueError(f"an array of {found.dtype!r}, not {dtype!r}")
    matches = len(found.shape) == len(shape) and all(
        wanted in (None, length) for length, wanted in zip(found.shape, shape, strict=False)
    )
    if not matches:
        raise ValueError(f"an array of shape {found.shape}, not {list(shape)}")
    size = 1
    for length in found.shape:
        size *= length
    kind = np.dtype(dtype)
    if len(found.data) != size * kind.itemsize:
        raise ValueError(f"{len(found.data)} bytes for an array of shape {found.shape}")
    if kind == np.bool_:
        octets = np.frombuffer(found.data, np.uint8)
        if octets.size and octets.max() > 1:
            raise ValueError("a truth value that is neither true nor false")
        return octets.astype(np.bool_).reshape(found.shape)
    # A copy: aligned, and with its own memory.
    return np.frombuffer(found.data, kind).reshape(found.shape).astype(kind.newbyteorder("="))


def require_within(values: NDArray[Any], lowest: float, highest: float, what: str) -> NDArray[Any]:
    """Return an array if each of its numbers is finite and between two bounds, both included.

    Raises:
        ValueError: One is not.
    """
    # Written so that NaN is not within any bounds.
    if values.size and not (values.min() >= lowest and values.max() <= highest):
        raise ValueError(f"{what} outside of {lowest:g} to {highest:g}")
    return values


# --- Errors.


def _invalid(text: str) -> WorkerDied:
    text = plain_text(text)
    return WorkerDied(Reason.of(ReasonCode.INVALID_RESULT, error=text[:300] or "no reason given"))


def _error_of(found: ErrorMessage, allowed: tuple[type[PortraitdError], ...]) -> PortraitdError:
    """Return the error that a message tells of, if its job may raise it."""
    if found.kind == _MEMORY:
        return WorkerDied(Reason.of(ReasonCode.OUT_OF_MEMORY))
    kind = _error_kinds().get(found.kind) or next(
        (one for one in allowed if one.__name__ == found.kind), None
    )
    if kind is None or not issubclass(kind, allowed):
        return _invalid(f"an error that this job does not raise: {found.kind[:64]!r}")
    # The code comes from a worker, perhaps on another machine: an unknown one becomes OTHER.
    code = ReasonCode(found.code)
    if code in _OF_THE_SERVICE:
        code = kind.code
    return kind(Reason(code, found.text))


@lru_cache(maxsize=1)
def _error_kinds() -> dict[str, type[PortraitdError]]:
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, PortraitdError)
    }
