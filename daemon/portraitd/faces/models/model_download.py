"""Download a model file: resumable, of a known size, and kept only with the known hash."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from portraitd.faces.models.cards import ModelCard
from portraitd.faces.models.weights import make_models_dir
from portraitd.media.fs import locked, sync
from portraitd.model.errors import ModelError

TIMEOUT_S = 30.0
"""Timeout while the server sends nothing."""

PARTIAL_SUFFIX = ".part"
"""What an unfinished download is called until its content is complete and verified."""

_CHUNK_BYTES = 1 << 16

_ALLOWED = ("https://", "http://127.0.0.1:", "http://localhost:")


class _WrongContentError(Exception):
    """The server has something else at this address. It says what."""


def download_model(url: str, wanted: ModelCard, target: Path, offline_command: str) -> None:
    """Download a model, or the rest of it if an earlier download was interrupted.

    Args:
        url: Where to download it.
        wanted: Its size and hash.
        target: Where to put it; its folder is created when needed.
        offline_command: What the user can run without a network, for the error message.

    Raises:
        ModelError: It cannot be downloaded or written, or the server has something else. What
            was received is kept if the download can continue from it.
    """
    _require_allowed(url)
    make_models_dir(target.parent)
    partial = target.with_name(target.name + PARTIAL_SUFFIX)
    try:
        with locked(partial):
            _download(url, wanted, partial, offline_command)
            sync(partial)
            partial.replace(target)
            sync(target.parent)
    except BlockingIOError:
        raise ModelError(f"{target} is being downloaded by another command") from None
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            if not partial.stat().st_size:
                partial.unlink()


def _download(url: str, wanted: ModelCard, partial: Path, offline_command: str) -> None:
    """Receive the whole content in ``partial``; start over once if a continued one is wrong."""
    for attempt in (1, 2):
        present = partial.stat().st_size
        is_continued = present > 0
        try:
            if not is_continued or present < wanted.size_bytes:
                _receive(url, wanted, partial, present)
            _require_content(wanted, partial)
        except _WrongContentError as error:
            if is_continued and attempt == 1:
                # What an earlier download left is not the beginning of what the server has now.
                _empty(partial)
                continue
            partial.unlink()
            raise ModelError(
                f"{url} is not {wanted.file.name} ({wanted.size_bytes} bytes, SHA-256 "
                f"{wanted.file.sha256}): {error}; nothing was added"
            ) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            raise ModelError(_explain(url, wanted, partial, error, offline_command)) from error
        return


def _receive(url: str, wanted: ModelCard, partial: Path, start: int) -> None:
    """Append what is missing, or write everything if the server does not continue.

    Raises:
        _WrongContentError: The server has another number of bytes.
        OSError, http.client.HTTPException: The connection failed, or ended too early.
    """
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = _OPENER.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _WrongContentError("it has fewer bytes") from error
        raise
    with response, partial.open("r+b") as file:
        total = _find_total(response, start)
        if total is None:
            start, total = 0, _length_of(response)
        if total is not None and total != wanted.size_bytes:
            raise _WrongContentError(f"it has {total} bytes")
        file.seek(start)
        file.truncate()
        _copy(response, file, wanted.size_bytes - start)
        if file.tell() < wanted.size_bytes:
            raise ConnectionError("the connection ended too early")


def _copy(response: Any, file: IO[bytes], count: int) -> None:
    """Append bytes as they arrive.

    Raises:
        _WrongContentError: There are more than ``count``.
    """
    while block := response.read1(_CHUNK_BYTES):
        count -= len(block)
        if count < 0:
            raise _WrongContentError("it has more bytes")
        file.write(block)


def _find_total(response: Any, start: int) -> int | None:
    """Return the size of the whole file if the server continues at ``start``, else None."""
    if response.status != http.client.PARTIAL_CONTENT:
        return None
    unit, _, span = str(response.headers.get("Content-Range", "")).partition(" ")
    given, _, total = span.partition("/")
    if unit != "bytes" or given.partition("-")[0] != str(start) or not total.isdigit():
        raise _WrongContentError("the server sends another part than was asked for")
    return int(total)


def _length_of(response: Any) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _require_content(wanted: ModelCard, partial: Path) -> None:
    with partial.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != wanted.file.sha256:
            raise _WrongContentError("its content is different")


def _empty(partial: Path) -> None:
    with partial.open("r+b") as file:
        file.truncate()


def _explain(
    url: str, wanted: ModelCard, partial: Path, error: Exception, offline_command: str
) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    without = f"without a network, run: {offline_command}"
    received = 0
    with suppress(OSError):
        received = partial.stat().st_size
    if received:
        return (
            f"{url} was interrupted after {received} of {wanted.size_bytes} bytes ({reason}); "
            f"run the same command again to continue, or, {without}"
        )
    return f"{url} cannot be downloaded ({reason}); {without}"


def _require_allowed(url: str) -> None:
    if not url.startswith(_ALLOWED):
        raise ModelError(f"{url} is not allowed: the address must start with https://")


class _AllowedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an address that could have been given."""

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> Any:
        _require_allowed(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_AllowedRedirects)
