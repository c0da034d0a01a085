"""Where a cluster's scheduler is, and whether it may be spoken to."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from portraitd.model.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ClusterPlace:
    """Where the scheduler is, and how to speak to it.

    Attributes:
        address: Such as ``tls://coordinator:8786``; empty where a file says it.
        scheduler_file: As ``dask scheduler --scheduler-file`` writes it.
        ca, cert, key: Files for TLS: whom to trust, and who we are.
        insecure: Whether a plain connection may leave this machine.
    """

    address: str = ""
    scheduler_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False

    def resolved(self) -> str:
        """The scheduler's address, if it may be used.

        Raises:
            ConfigError: There is none, or it would be spoken to in the clear.
        """
        address = self.address or self._from_file()
        parts = urlsplit(address)
        if parts.scheme not in ("tcp", "tls") or not parts.hostname:
            raise ConfigError(f"workers.address = {address!r}: write tcp://HOST:PORT or tls://…")
        if parts.scheme == "tls":
            if not (self.ca and self.cert and self.key):
                raise ConfigError(
                    f"{address} needs workers.tls_ca, workers.tls_cert and workers.tls_key"
                )
            for file in (self.ca, self.cert, self.key):
                if not file.is_file():
                    raise ConfigError(f"{file}: there is no such file")
        elif not self.insecure and not is_loopback(parts.hostname):
            raise ConfigError(
                f"{address} is not encrypted: anybody on the way could read faces and run "
                "programs. Use tls://, or set workers.insecure_address = true on a network that "
                "is yours alone"
            )
        return address

    def _from_file(self) -> str:
        if self.scheduler_file is None:
            raise ConfigError(
                'workers.kind = "dask" needs workers.address or workers.scheduler_file'
            )
        try:
            return str(json.loads(self.scheduler_file.read_text())["address"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(f"{self.scheduler_file}: no scheduler's address: {error}") from None


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
