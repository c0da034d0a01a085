"""Client side of control requests: ask the running service to do what needs the store lock."""

from __future__ import annotations

import time

from portraitd.config import Settings
from portraitd.model.errors import AlreadyRunning, ConfigError, StoreError
from portraitd.people.pages.edit_words import describe_last_undo
from portraitd.service.active_settings import read_active
from portraitd.service.control_files import INVALID_SUFFIX, ControlFiles, ControlRequest
from portraitd.service.health import lock_holder
from portraitd.service.people_lease import hold_people_tree
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.ledger import Ledger
from portraitd.store.database import Database, StoreLock
from portraitd.store.publications import Publications

ANSWER_TIMEOUT_S = 30.0
POLL_S = 0.1


def ask(
    settings: Settings,
    request: ControlRequest,
    or_queue: bool = False,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> str | None:
    """Send a request to the running service and wait for its answer.

    Args:
        settings: The home.
        request: What the service is asked to do.
        or_queue: If no service runs, queue the request for its next start.
        timeout_s: How long to wait.

    Returns:
        The answer, or that the service has the request but is busy; None if no service runs and
        the request was not queued.

    Raises:
        ConfigError: The service refused the request; the message is its reason.
        StoreError: Nothing has been processed in this home yet, or the service does not read the
            request; it stays queued.
        TreeInUse: The request would be queued, and the service of another home works on the people
            tree.
    """
    if not settings.state_dir.is_dir():
        raise StoreError(f"{settings.state_dir}: nothing has been processed in this home yet")
    requests = ControlFiles(settings.requests_dir)
    try:
        with StoreLock(settings.state_dir):
            if not or_queue:
                return None
            with (
                Database.open(settings.state_dir) as database,
                hold_people_tree(settings, database.name),
            ):
                requests.leave(request)
            return (
                "The service is not running. The request is queued and will be carried out when "
                "`portraitd run` starts."
            )
    except AlreadyRunning:
        name = requests.leave(request)
    answer = await_answer(settings, requests, name, timeout_s)
    if answer is None:
        return "The service is busy. It has read the request and will carry it out when it can."
    text, is_granted = answer
    if not is_granted:
        raise ConfigError(text)
    return text


def await_answer(
    settings: Settings, requests: ControlFiles, name: str, timeout_s: float
) -> tuple[str, bool] | None:
    """Wait for the answer to a request.

    Returns:
        The answer, and whether the request was carried out; None if the service has the request
        but did not answer in time.

    Raises:
        StoreError: The service did not read the request in time, or has ended; it stays queued. Or
            the service did not understand it, as one of another version.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        if (answer := requests.answer_to(name)) is not None:
            return answer
        if requests.is_invalid(name):
            raise StoreError(
                f"the service could not read the request; it is kept in {requests.folder} as "
                f"{name}{INVALID_SUFFIX}"
            )
        if time.monotonic() >= deadline_s:
            break
        time.sleep(POLL_S)
    if requests.is_taken(name):
        return None
    process = lock_holder(settings.state_dir)
    who = (
        f"process {process}, which uses this home," if process else "the service, which has ended,"
    )
    raise StoreError(
        f"{who} did not read the request within {timeout_s:g} s; the request is queued in "
        f"{requests.folder} and will be carried out when `portraitd run` reads it"
    )


def require_same_settings(settings: Settings) -> None:
    """Check that the running service, if there is one, works with the settings of a command.

    Raises:
        ConfigError: It does not; the message says which differ, and what to do.
    """
    active = read_active(settings.state_dir)
    changed = active.differences(settings) if active else {}
    if changed:
        listed = ", ".join(f"{key} = {there}" for key, (there, _) in changed.items())
        raise ConfigError(
            f"the running service uses other settings than this command: {listed}; write "
            "yours to its settings file, run `systemctl reload portraitd` (or send it SIGHUP), "
            "and run this command again without --set"
        )


def undo_here(settings: Settings, entry: int | None) -> str:
    """Undo an entry of the ledger while no service runs.

    Raises:
        ConfigError: There is nothing to undo.
        AlreadyRunning: A service has started in the meantime.
        TreeInUse: The service of another home works on the people tree.
    """
    with (
        StoreLock(settings.state_dir),
        Database.open(settings.state_dir) as database,
        hold_people_tree(settings, database.name),
    ):
        ledger, is_whole = Ledger(database), settings.review.unit == "track"
        recorder = EditRecorder(database, ledger, Publications(database), is_whole)
        recorder.undo(entry, time.time())
        undone = describe_last_undo(ledger)
    return f"{undone}; `portraitd run` will update people/."
