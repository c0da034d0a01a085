"""A command says what happened to its request: done, read, or only queued."""

from __future__ import annotations

import threading
from itertools import islice, takewhile
from pathlib import Path

import pytest

from portraitd.cli.check import findings
from portraitd.cli.client import ask, require_same_settings
from portraitd.config import Settings
from portraitd.model.errors import ConfigError, StoreError
from portraitd.service.active_settings import FILE_NAME, read_active, write_active
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.store.database import StoreLock

FORGET = ControlRequest("forget", arguments=("person", "Ann"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings.model_validate({"home": tmp_path})
    found.state_dir.mkdir()
    return found


def test_a_service_that_does_not_read_a_request_is_named(settings: Settings) -> None:
    """It may hang, or not be allowed to read it. The request stays, and the command fails."""
    with (
        StoreLock(settings.state_dir),
        pytest.raises(StoreError, match=r"process \d+, which uses .* did not read .* is queued in"),
    ):
        ask(settings, FORGET, timeout_s=0.0)

    assert [FORGET] == list(ControlFiles(settings.requests_dir).waiting().values())


def test_a_service_that_is_busy_has_the_request(settings: Settings) -> None:
    """It has read it, and will carry it out."""
    requests = ControlFiles(settings.requests_dir)

    def take() -> None:
        while not (waiting := requests.waiting()):
            pass
        requests.acknowledge(next(iter(waiting)))

    service = threading.Thread(target=take)
    service.start()
    with StoreLock(settings.state_dir):
        answer = ask(settings, FORGET, timeout_s=1.0)
    service.join()

    assert (
        answer == "The service is busy. It has read the request and will carry it out when it can."
    )


def test_a_request_that_the_service_cannot_read_is_an_error(settings: Settings) -> None:
    """As one of a later version: it will never be carried out."""
    requests = ControlFiles(settings.requests_dir)

    def refuse() -> None:
        while not (waiting := requests.waiting()):
            pass
        (settings.requests_dir / f"{(name := next(iter(waiting)))}.request").write_text("[]")
        while not requests.is_invalid(name):
            requests.waiting()

    service = threading.Thread(target=refuse)
    service.start()
    with StoreLock(settings.state_dir), pytest.raises(StoreError, match="could not read"):
        ask(settings, FORGET, timeout_s=60.0)
    service.join()


def test_other_settings_than_those_of_the_service_are_an_error(settings: Settings) -> None:
    """It would work with its own; the message names the setting, and what to do."""
    other = settings.model_copy(
        update={"sampling": settings.sampling.model_copy(update={"fps": 0.25})}
    )
    require_same_settings(other)
    with StoreLock(settings.state_dir):
        write_active(settings, "yunet", "dlib", "")
        require_same_settings(settings)
        with pytest.raises(ConfigError, match=r"other settings.*: sampling\.fps = .*reload"):
            require_same_settings(other)
        active = read_active(settings.state_dir)
        assert active
        assert ("yunet", "dlib") == (active.detector, active.embedder)
        (settings.state_dir / FILE_NAME).write_text("{}")
        assert read_active(settings.state_dir) is None


def test_check_says_in_what_the_running_service_differs(settings: Settings) -> None:
    """Its settings and its models are those that it has loaded, not those of the command."""
    other = settings.model_copy(
        update={"sampling": settings.sampling.model_copy(update={"fps": 0.25})}
    )
    assert "running service" not in {one.what for one in islice(findings(settings), 12)}
    with StoreLock(settings.state_dir):
        write_active(settings, "yunet", "other", "")
        found = {
            one.what: (one.sound, one.detail)
            for one in takewhile(lambda one: one.what != "embedder", findings(other))
        }

    is_sound, detail = found["running service"]
    assert not is_sound
    assert f"sampling.fps = {settings.sampling.fps} instead of 0.25" in detail
    assert (True, "yunet") == found["detector"]
