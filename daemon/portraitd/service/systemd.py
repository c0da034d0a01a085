"""Notifications for systemd. The protocol is one datagram (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket

SEND_TIMEOUT_S = 1.0

MAX_STATUS_CHARACTERS = 400

START_S = 3600.0
"""How long a start may take, whatever the unit says."""


class Notifier:
    """Sends states to the socket that systemd passed; does nothing if there is none.

    Args:
        address: Of the socket; by default from ``NOTIFY_SOCKET``.
        watchdog_usec: The timeout of the watchdog; by default from ``WATCHDOG_USEC``.
    """

    def __init__(self, address: str | None = None, watchdog_usec: str | None = None) -> None:
        given = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of the abstract namespace.
        self._address = "\0" + given[1:] if given.startswith("@") else given
        timeout = watchdog_usec if watchdog_usec is not None else os.environ.get("WATCHDOG_USEC")
        self._interval_s = int(timeout) / 1e6 / 3 if timeout else 0.0
        self._pinged_s = float("-inf")
        self._is_reloading = False
        self._status = ""

    def starting(self) -> None:
        """Report that the start may take long: a large database is checked and migrated."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(START_S * 1e6)}")

    def ready(self) -> None:
        """Report that the service is up."""
        self._send("READY=1")

    @property
    def is_reloading(self) -> bool:
        """Return whether a reload was reported."""
        return self._is_reloading

    def reloading(self, now_s: float) -> None:
        """Report that the service reloads its settings; the next ``ready`` ends that.

        Args:
            now_s: The monotonic clock.
        """
        self._is_reloading = True
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(now_s * 1e6)}")

    def status(self, text: str) -> None:
        """Report in one line what the service is doing, if that has changed."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + " ".join(text.split())[:MAX_STATUS_CHARACTERS])

    def stopping(self) -> None:
        """Report that the service is stopping."""
        self._send("STOPPING=1")

    def alive(self, now_s: float) -> None:
        """Ping the watchdog, three times within its timeout.

        Args:
            now_s: The monotonic clock.
        """
        if self._interval_s and now_s - self._pinged_s >= self._interval_s:
            self._pinged_s = now_s
            self._send("WATCHDOG=1")

    @property
    def interval_s(self) -> float:
        """Return how often ``alive`` must be called; 0 without a watchdog."""
        return self._interval_s

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # If systemd restarts, or the socket is missing, the service continues.
        with contextlib.suppress(OSError), _datagram_socket() as sock:
            sock.sendto(state.encode(), self._address)


def _datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    # If nothing reads the socket, its queue fills up and sending would block.
    sock.settimeout(SEND_TIMEOUT_S)
    return sock
