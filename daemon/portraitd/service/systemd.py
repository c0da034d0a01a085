"""Telling systemd how the service is. The protocol is one datagram (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket

SEND_S = 1.0


class Notifier:
    """Sends states to the socket that systemd named; does nothing where there is none."""

    def __init__(self, address: str | None = None, watchdog_usec: str | None = None) -> None:
        """
        Args:
            address: Of the socket; by default from ``NOTIFY_SOCKET``.
            watchdog_usec: The watchdog's patience; by default from ``WATCHDOG_USEC``.
        """
        given = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of the abstract namespace.
        self._address = "\0" + given[1:] if given.startswith("@") else given
        patience = watchdog_usec if watchdog_usec is not None else os.environ.get("WATCHDOG_USEC")
        self._period_s = int(patience) / 1e6 / 3 if patience else 0.0
        self._pinged_s = float("-inf")
        self._is_reloading = False

    def ready(self) -> None:
        """The service is up."""
        self._send("READY=1")

    @property
    def is_reloading(self) -> bool:
        """Whether the service was said to come back."""
        return self._is_reloading

    def reloading(self, now_s: float) -> None:
        """The service takes up new settings; ``ready`` ends it. Time of the monotonic clock."""
        self._is_reloading = True
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(now_s * 1e6)}")

    def stopping(self) -> None:
        """The service is going down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line that ``systemctl status`` shows."""
        self._send(f"STATUS={text}")

    def alive(self, now_s: float) -> None:
        """The loop has turned; pings the watchdog three times within its patience."""
        if self._period_s and now_s - self._pinged_s >= self._period_s:
            self._pinged_s = now_s
            self._send("WATCHDOG=1")

    @property
    def period_s(self) -> float:
        """How often ``alive`` wants to be called; 0 if nobody asks."""
        return self._period_s

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # systemd restarted or the socket is gone: the service works on all the same.
        with contextlib.suppress(OSError), _datagrams() as sock:
            sock.sendto(state.encode(), self._address)


def _datagrams() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    # Where nobody listens the queue fills up, and the service would wait with it.
    sock.settimeout(SEND_S)
    return sock
