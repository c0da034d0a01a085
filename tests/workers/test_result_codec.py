"""Answers of workers: any bytes are an answer that fails its job, or one that the job can give."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from portraitd.model.errors import NotMedia, WorkerDied
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.service import pools
from portraitd.workers.job_results import returns, schema_of
from portraitd.workers.pool import InlineExecutor, LocalExecutor
from portraitd.workers.process import WorkerLimits
from portraitd.workers.result_codec import (
    MAX_TEXT,
    Array,
    ResultSchema,
    StaleAnswer,
    ValueMessage,
    encode_error,
    pack_array,
    plain_text,
    require_within,
    unpack_array,
)
from support import bad_jobs

ANSWER_S = 60.0

ARRAY = ResultSchema[Any](
    Array, lambda values: pack_array(values, "<f4"), lambda found: unpack_array(found, "<f4", 2, 3)
)


def test_every_job_of_the_service_declares_what_it_returns() -> None:
    """A job without a schema would be refused when it is submitted, not before."""
    jobs = pools.ALL_JOBS

    for job in jobs:
        assert isinstance(schema_of(job), ResultSchema)


def test_a_job_that_declares_nothing_is_refused() -> None:
    """By each executor, before it runs."""
    local = LocalExecutor(1, WorkerLimits(0, 0, 60.0))
    for executor in (InlineExecutor(), local):
        with pytest.raises(LookupError, match="does not declare what it returns"):
            executor.submit(sys.getsizeof, 1)
    with pytest.raises(LookupError, match="is not a schema"):
        schema_of(returns("portraitd.model.errors:NotMedia")(lambda: None))
    local.shutdown()


def test_a_message_is_no_program() -> None:
    """Neither a pickle nor a type in a message is read."""
    for data in (pickle.dumps(print), b"cos\nsystem\n(S'true'\ntR.", b"\xc7\x01\x05x"):
        with pytest.raises(WorkerDied, match="invalid result from worker"):
            bad_jobs.PLAIN.decode(data, 1, (), {})


def test_an_answer_to_another_job_is_not_an_answer() -> None:
    """Whether it is a value or an error."""
    for message in (bad_jobs.PLAIN.encode(2, "late"), encode_error(2, NotMedia("late"))):
        with pytest.raises(StaleAnswer):
            bad_jobs.PLAIN.decode(message, 1, (), {})


def test_a_message_is_as_large_as_its_job_allows() -> None:
    """On both sides."""
    small = ResultSchema[Any](str, str, lambda text: text, max_bytes=64)
    for attempt in (
        lambda: small.encode(1, "x" * 100),
        lambda: small.decode(msgspec.msgpack.encode(ValueMessage(1, "x" * 100)), 1, (), {}),
    ):
        with pytest.raises(WorkerDied, match="at most 64"):
            attempt()


def test_what_is_read_takes_no_more_memory_than_was_sent() -> None:
    """A few bytes announce four thousand million entries, and nested ones."""
    for data in (b"\xdd\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff" * 900, b"\xc6\xff\xff\xff\xff"):
        message = b"\x93\xa5value\x01" + data
        with pytest.raises(WorkerDied):
            bad_jobs.PLAIN.decode(message, 1, (), {})


# --- Arrays.


def test_an_array_arrives_as_it_is() -> None:
    """Aligned, writable, and with its own memory."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3)

    found = ARRAY.decode(ARRAY.encode(1, values), 1, (), {})

    assert np.array_equal(values, found)
    assert (np.float32, True, True) == (
        found.dtype,
        found.flags.writeable,
        bool(found.flags.aligned),
    )


def odd_arrays() -> Iterator[Any]:
    data = bytes(24)
    yield ["<f8", [2, 3], data]
    yield ["O", [2, 3], data]
    yield ["<f4", [3, 2], data]
    yield ["<f4", [6], data]
    yield ["<f4", [], data]
    yield ["<f4", [2, 3, 1], data]
    yield ["<f4", [2, 3], data[:-1]]
    yield ["<f4", [2, 3], data + b"x"]
    yield ["<f4", [2, 3], b""]
    yield ["<f4", [-2, 3], data]
    yield ["<f4", [1 << 62, 1 << 62], data]
    yield ["<f4", [2.0, 3.0], data]
    yield ["<f4", 6, data]
    yield ["<f4", [2, 3], "text"]
    yield [["<f4"], [2, 3], data]
    yield ["V4", [2, 3], data]
    yield None


@pytest.mark.parametrize("data", list(odd_arrays()), ids=str)
def test_an_array_of_another_kind_is_refused(data: object) -> None:
    """numpy gets nothing but the type that the job declares, and bytes of that size."""
    message = msgspec.msgpack.encode(ValueMessage(1, data))

    with pytest.raises(WorkerDied, match="invalid result from worker"):
        ARRAY.decode(message, 1, (), {})


def test_truth_values_are_true_or_false() -> None:
    """numpy itself takes any byte for one."""
    assert [True, False] == unpack_array(Array("|b1", [2], b"\x01\x00"), "|b1", 2).tolist()
    with pytest.raises(ValueError, match="truth value"):
        unpack_array(Array("|b1", [2], b"\x02\x00"), "|b1", 2)


def test_nan_is_within_no_bounds() -> None:
    """Nor is infinity; an empty array is within all."""
    for value in (np.nan, np.inf, -np.inf, 2.0):
        with pytest.raises(ValueError, match="outside of 0 to 1"):
            require_within(np.array([0.5, value]), 0, 1, "a share")
    assert 0 == require_within(np.empty(0), 0, 1, "a share").size


# --- Texts.


class Silent(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError


def test_any_text_can_be_sent_and_stored() -> None:
    """A name that is not UTF-8, a library that writes a book, and one that fails."""
    sent = Reason(ReasonCode.CANNOT_READ, "clip-\udcff.mp4: " + "x" * 10_000)

    with pytest.raises(NotMedia) as raised:
        bad_jobs.PLAIN.decode(encode_error(1, NotMedia(sent)), 1, (), {})

    assert raised.value.reason.text.startswith("clip-\ufffd.mp4: xxx")
    assert MAX_TEXT == len(raised.value.reason.text)
    assert "ValueError" == plain_text(Silent())
