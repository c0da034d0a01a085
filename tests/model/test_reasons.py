"""Reason codes, their sentences, and errors that carry them out of a worker."""

from __future__ import annotations

from string import Formatter

import pytest

from portraitd.model import errors, reasons
from portraitd.model.errors import NotMedia, PortraitdError, WorkerDied, code_of
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.workers.result_codec import encode_error
from support import bad_jobs

ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, PortraitdError)
]


def test_every_code_is_used() -> None:
    """It has a sentence here or on the pages, or an error with it brings its own sentence."""
    of_errors = {kind.code for kind in ERRORS}
    without = set(ReasonCode) - set(reasons._TEXTS) - of_errors

    assert {ReasonCode.NONE, *reasons.NOTICES} == without


def test_every_sentence_has_a_code_of_its_own() -> None:
    """Two codes with one sentence could not be told apart by people."""
    assert len(reasons._TEXTS) == len(set(reasons._TEXTS.values()))


def test_a_sentence_is_made_of_a_code_and_facts() -> None:
    """Numbers stand with their nouns; braces in a fact mean nothing."""
    missing = [Reason.of(ReasonCode.BYTES_MISSING, missing=count).text for count in (1, 12_345)]
    assert [
        "incomplete: 1 byte missing at the end of the file",
        "incomplete: 12,345 bytes missing at the end of the file",
    ] == missing
    odd = Reason.of(ReasonCode.DUPLICATE_OF, name="{name}%s{0}.mp4")
    assert "same content as {name}%s{0}.mp4" == odd.text == str(odd)
    assert odd
    assert not NO_REASON


def test_a_missing_fact_is_an_error_of_the_caller() -> None:
    """A sentence with a hole would reach people."""
    for code, text in reasons._TEXTS.items():
        if any(name for _, name, _, _ in Formatter().parse(text)):
            with pytest.raises(KeyError):
                Reason.of(code)
        else:
            assert text == Reason.of(code).text


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_leaves_a_worker_with_its_reason(kind: type[PortraitdError]) -> None:
    """Whether it was raised with a reason or with a sentence alone."""
    for given, expected in (
        (Reason.of(ReasonCode.EMPTY), Reason.of(ReasonCode.EMPTY)),
        ("a sentence", Reason(kind.code, "a sentence")),
        (Reason(ReasonCode.NONE, "a sentence"), Reason(kind.code, "a sentence")),
    ):
        message = encode_error(1, kind(given))

        with pytest.raises(kind) as raised:
            bad_jobs.PLAIN.decode(message, 1, (), {})

        arrived = raised.value
        assert kind is type(arrived)
        assert expected == arrived.reason
        assert expected.text == str(arrived)
        assert expected.code is code_of(arrived)


class _Odd:
    """Something that a worker in foreign hands could put into an error."""


@pytest.mark.parametrize(
    "argument",
    [
        7,
        Reason(ReasonCode.EMPTY, ["no text"]),  # type: ignore[arg-type]
        Reason("empty", "text"),  # type: ignore[arg-type]
        Reason.__new__(Reason),
        _Odd(),
    ],
)
def test_an_error_with_an_odd_argument_has_a_reason_all_the_same(argument: object) -> None:
    """Logging and storing it must not fail in the service."""
    error = NotMedia(argument)  # type: ignore[arg-type]

    assert Reason(ReasonCode.NOT_MEDIA, "NotMedia") == error.reason
    assert "NotMedia" == str(error)


def test_other_errors_are_unexpected() -> None:
    """The code says that portraitd did not foresee them."""
    assert ReasonCode.UNEXPECTED_ERROR is code_of(ValueError("x"))
    assert ReasonCode.WORKER_DIED is code_of(WorkerDied("x"))
