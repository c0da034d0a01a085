"""What is believed of an answer: values, and members of enumerations as any Python names them."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest

from portraitd.model.errors import WorkerDied
from portraitd.model.face import Box
from portraitd.model.media_file import MediaKind
from portraitd.workers import result_decoding
from portraitd.workers.result_decoding import decode_result, encode_result


class Looked:
    """Reads back as an attribute of something, as Python 3.11.2 writes enumerations."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.owner, self.name)


def test_values_come_back_as_they_were() -> None:
    """Whatever this Python makes of an enumeration."""
    value = (MediaKind.PHOTO, Box(1, 2, 3, 4), [1.5, None, "name"], b"jpeg")

    assert value == decode_result(encode_result(value))


def test_a_member_of_an_enumeration_may_be_looked_up() -> None:
    """By its name, and nothing else of it."""
    assert MediaKind.VIDEO is decode_result(pickle.dumps(Looked(MediaKind, "VIDEO")))


@pytest.mark.parametrize(
    ("owner", "name"),
    [(MediaKind, "__subclasses__"), (Box, "_make"), (result_decoding.DetectedFace, "__init__")],
)
def test_nothing_else_may_be_looked_up(owner: Any, name: str) -> None:
    """From an attribute to the next, a program could be reached."""
    with pytest.raises(WorkerDied, match="invalid result from worker"):
        decode_result(pickle.dumps(Looked(owner, name)))


def test_functions_are_not_believed() -> None:
    """Of modules that are loaded as little as of others."""
    with pytest.raises(WorkerDied, match="invalid result from worker"):
        decode_result(pickle.dumps(os.system))
