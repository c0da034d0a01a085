"""ControlFiles: files that a command leaves, and the service answers."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from portraitd.model.errors import StoreError
from portraitd.service.control_files import MAX_REQUEST_BYTES, ControlFiles, ControlRequest


def test_a_request_is_read_as_it_was_left_and_answered_once(tmp_path: Path) -> None:
    """The oldest first; the answer is taken away by whoever reads it."""
    requests = ControlFiles(tmp_path / "requests")
    first = requests.leave(ControlRequest("forget", arguments=("person", "Zoë")))
    second = requests.leave(ControlRequest("undo", entry=7))

    waiting = list(requests.waiting().items())
    assert [
        (first, ControlRequest("forget", None, ("person", "Zoë"))),
        (second, ControlRequest("undo", 7)),
    ] == waiting
    assert requests.answer_to(first) is None
    requests.answer(first, "4 faces erased")
    assert ("4 faces erased", True) == requests.answer_to(first)
    assert requests.answer_to(first) is None
    assert [second] == list(requests.waiting())


def test_a_request_that_is_just_being_written_is_left_alone(tmp_path: Path) -> None:
    """Taken for a broken one, it would be gone before it has its name."""
    requests = ControlFiles(tmp_path)
    beside = tmp_path / ".00000000000000000001-abcd.request"
    beside.write_text('{"what": "un')

    assert {} == requests.waiting()
    assert beside.exists()


def test_a_request_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It was left before an upgrade, and is carried out after it."""
    requests = ControlFiles(tmp_path)
    (tmp_path / "1.request").write_text('{"what": "undo", "row": 3}')
    (tmp_path / "2.request").write_text('{"what": "forget", "row": null, "words": ["video", "a"]}')

    assert [
        ControlRequest("undo", 3),
        ControlRequest("forget", None, ("video", "a")),
    ] == list(requests.waiting().values())


def test_the_longest_command_line_is_read_as_a_request(tmp_path: Path) -> None:
    """``portraitd dismiss`` with the names of thousands of files, in whatever encoding."""
    requests = ControlFiles(tmp_path)
    asked = ControlRequest("dismiss", arguments=tuple(["\udcff" * 250] * 8000))
    name = requests.leave(asked)

    assert {name: asked} == requests.waiting()


def test_what_is_no_request_is_set_aside(tmp_path: Path) -> None:
    """It is not looked at again, and not lost; the log names it."""
    requests = ControlFiles(tmp_path)
    for name, content in (
        ("1", "[]"),
        ("2", '{"what": "undo", "row": "last"}'),
        ("3", '{"what": "undo", "row": null, "words": ["' + "x" * MAX_REQUEST_BYTES + '"]}'),
        ("5", '{"what": "undo", "row": 1e999}'),
        ("6", '{"what": "undo", "row": 9223372036854775808}'),
        ("7", "[" * 60_000),
    ):
        (tmp_path / f"{name}.request").write_text(content)
    os.mkfifo(tmp_path / "4.request")
    (tmp_path / "8.request").mkdir()
    # Its answer could not be written.
    long = "9" * 247
    (tmp_path / f"{long}.request").write_text('{"what": "undo", "row": null}')
    with capture_logs() as logged:
        assert {} == requests.waiting()

    names = [*map(str, range(1, 9)), long]
    assert [f"{name}.invalid" for name in names] == sorted(os.listdir(tmp_path))
    assert all(map(requests.is_invalid, names))
    assert ["request_invalid"] * 9 == [line["event"] for line in logged]
    assert [] == _open_below(tmp_path)


def _open_below(folder: Path) -> list[str]:
    """List what this process has open there; other tests open and close what is theirs."""
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [target for target in targets if Path(target).is_relative_to(folder)]


def test_what_cannot_be_read_is_kept_and_logged(tmp_path: Path) -> None:
    """As a file of another user; the others are carried out, in their order."""
    requests = ControlFiles(tmp_path)
    (tmp_path / "1.request").symlink_to("elsewhere")
    name = requests.leave(ControlRequest("undo", 3))
    with capture_logs() as logged:
        assert {name: ControlRequest("undo", 3)} == requests.waiting()

    assert (tmp_path / "1.request").is_symlink()
    assert [("request_unreadable", "1.request")] == [
        (line["event"], line["request"]) for line in logged
    ]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    """There may be a request in it: the service must not look idle."""
    (tmp_path / "requests").write_text("")

    with pytest.raises(StoreError, match="requests are kept there"):
        ControlFiles(tmp_path / "requests").waiting()


def test_a_request_that_was_read_is_acknowledged_until_it_is_answered(tmp_path: Path) -> None:
    """A command can tell a service that is busy from one that does not read requests."""
    requests = ControlFiles(tmp_path)
    name = requests.leave(ControlRequest("undo"))
    assert not requests.is_taken(name)
    requests.acknowledge(name)
    assert requests.is_taken(name)
    requests.answer(name, "done")

    assert not requests.is_taken(name)
    assert ("done", True) == requests.answer_to(name)
    assert [] == os.listdir(tmp_path)


def test_nobody_waits_for_what_was_withdrawn(tmp_path: Path) -> None:
    """Whether it was answered or not."""
    requests = ControlFiles(tmp_path)
    answered, open_ = (
        requests.leave(ControlRequest("dataset")),
        requests.leave(ControlRequest("dataset")),
    )
    requests.answer(answered, "{}")
    for name in (answered, open_):
        requests.withdraw(name)

    assert [] == list(tmp_path.iterdir())


def test_requests_are_for_their_owner_alone(tmp_path: Path) -> None:
    """They may hold a name. One that cannot be written says where."""
    requests = ControlFiles(tmp_path / "requests")
    name = requests.leave(ControlRequest("undo"))
    (tmp_path / "file").write_text("")

    assert 0o700 == stat.S_IMODE(requests.folder.stat().st_mode)
    assert 0o600 == stat.S_IMODE((requests.folder / f"{name}.request").stat().st_mode)
    with pytest.raises(StoreError, match="file"):
        ControlFiles(tmp_path / "file").leave(ControlRequest("undo"))


def test_requests_are_answered_in_their_order(tmp_path: Path) -> None:
    """An invalid request is set aside; an answer is read once."""
    requests = ControlFiles(tmp_path / "requests")
    first = requests.leave(ControlRequest("undo", 3))
    second = requests.leave(ControlRequest("accept"))
    (tmp_path / "requests" / "0.request").write_text("nonsense")
    assert {
        first: ControlRequest("undo", 3),
        second: ControlRequest("accept"),
    } == requests.waiting()

    requests.answer(first, "no", granted=False)

    assert [second] == list(requests.waiting())
    assert requests.answer_to(second) is None
    assert ("no", False) == requests.answer_to(first)
    assert requests.answer_to(first) is None
