"""How a command gets done what only the holder of the store may do."""

from __future__ import annotations

import time

from portraitd.config import Settings
from portraitd.model.errors import AlreadyRunning, ConfigError, StoreError
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.store import Database, EditRecorder, Ledger, Publications, StoreLock

PATIENCE_S = 30.0
LOOK_S = 0.1


def ask(settings: Settings, request: ControlRequest, or_leave: bool = False) -> str | None:
    """Ask the running service, and wait for its answer.

    Args:
        settings: Whose home.
        request: What is wanted.
        or_leave: Leave the request for the next start, if no service runs.

    Returns:
        The answer, or None if no service runs.

    Raises:
        ConfigError: The service refused; its reason.
        StoreError: There is no store yet.
    """
    if not settings.state_dir.is_dir():
        raise StoreError(f"{settings.state_dir}: nothing has been processed in this home yet")
    requests = ControlFiles(settings.requests_dir)
    try:
        with StoreLock(settings.state_dir):
            if not or_leave:
                return None
            requests.leave(request)
            return "nobody is at work; it will be done when `portraitd run` starts"
    except AlreadyRunning:
        name = requests.leave(request)
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if (answer := requests.answer_to(name)) is not None:
            text, is_granted = answer
            if not is_granted:
                raise ConfigError(text)
            return text
        time.sleep(LOOK_S)
    return "the service is busy; it will be done as soon as it can"


def undo_here(settings: Settings, row: int | None) -> str:
    """Take back a row of the ledger while no service runs.

    Raises:
        ConfigError: There is nothing to undo.
        AlreadyRunning: A service was started just now.
    """
    with StoreLock(settings.state_dir):
        database = Database.open(settings.state_dir)
        try:
            ledger, is_whole = Ledger(database), settings.review.unit == "track"
            recorder = EditRecorder(database, ledger, Publications(database), is_whole)
            undone = recorder.undo(row, time.time())
        finally:
            database.close()
    return f"row {undone.id} ({undone.kind}) is undone; `portraitd run` moves things back"
