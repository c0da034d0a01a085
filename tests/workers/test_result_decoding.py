"""Decoding results: values, and members of enumerations as every Python version pickles them."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from typing import Any

import pytest

from portraitd.model.errors import WorkerDied
from portraitd.model.face import Box
from portraitd.model.media_file import MediaFacts, MediaKind
from portraitd.model.recording_time import RecordingTime
from portraitd.workers import result_decoding
from portraitd.workers.result_decoding import decode_result, encode_result, validate_facts


class PickledAttribute:
    """Unpickles as an attribute of an object, as Python 3.11.2 pickles enumerations."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.owner, self.name)


def test_values_are_decoded() -> None:
    """However this version of Python pickles an enumeration."""
    value = (MediaKind.PHOTO, Box(1, 2, 3, 4), [1.5, None, "name"], b"jpeg")

    assert value == decode_result(encode_result(value))


def test_a_member_of_an_enumeration_is_allowed() -> None:
    """By its name; other attributes are refused."""
    assert MediaKind.VIDEO is decode_result(pickle.dumps(PickledAttribute(MediaKind, "VIDEO")))


@pytest.mark.parametrize(
    ("owner", "name"),
    [(MediaKind, "__subclasses__"), (Box, "_make"), (result_decoding.DetectedFace, "__init__")],
)
def test_other_attributes_are_refused(owner: Any, name: str) -> None:
    """A chain of attributes could lead to a function."""
    with pytest.raises(WorkerDied, match="invalid result from worker"):
        decode_result(pickle.dumps(PickledAttribute(owner, name)))


def test_functions_are_refused() -> None:
    """Whether their module is loaded or not."""
    with pytest.raises(WorkerDied, match="invalid result from worker"):
        decode_result(pickle.dumps(os.system))


FACTS = MediaFacts(
    "a" * 64, MediaKind.VIDEO, 60.0, 25.0, 640, 480, "", "b" * 64, RecordingTime(1e9, 120)
)


def test_facts_are_decoded_with_their_date() -> None:
    """Hash and date may be unknown, the duration infinite."""
    assert FACTS == validate_facts(decode_result(encode_result(FACTS)))
    bare = replace(FACTS, picture_hash="", recorded=None, duration_s=float("inf"))
    assert bare == validate_facts(bare)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": ""},
        {"sha256": 7},
        {"picture_hash": "b" * 65},
        {"picture_hash": b"b"},
        {"extends": None},
        {"kind": "song"},
        {"duration_s": "long"},
        {"duration_s": float("nan")},
        {"fps": float("nan")},
        {"width_px": -1},
        {"height_px": 1.5},
        {"recorded": "yesterday"},
        {"recorded": RecordingTime("1", None)},  # type: ignore[arg-type]
        {"recorded": RecordingTime(1.0, "+2")},  # type: ignore[arg-type]
    ],
)
def test_facts_of_another_kind_are_refused(changes: dict[str, Any]) -> None:
    """The service would stop at what it cannot store."""
    with pytest.raises(WorkerDied):
        validate_facts(replace(FACTS, **changes))


def test_something_else_is_not_facts() -> None:
    """The error names what it is."""
    with pytest.raises(WorkerDied, match="a dict, not facts"):
        validate_facts({})
