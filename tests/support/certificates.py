"""Certificates for encrypted connections, made by the openssl program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A self-signed certificate, which is its own authority, and its key."""

    cert: Path
    key: Path

    @property
    def worker_options(self) -> tuple[str, ...]:
        cert, key = str(self.cert), str(self.key)
        return "--tls-ca", cert, "--tls-cert", cert, "--tls-key", key

    @property
    def scheduler_options(self) -> tuple[str, ...]:
        cert, key = str(self.cert), str(self.key)
        return ("--protocol", "tls", "--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key)

    @property
    def service_options(self) -> tuple[str, ...]:
        values = {"ca": self.cert, "cert": self.cert, "key": self.key}
        pairs = (("--set", f"workers.tls_{name}={value}") for name, value in values.items())
        return tuple(part for pair in pairs for part in pair)


def has_openssl() -> bool:
    return shutil.which("openssl") is not None


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate in a new folder."""
    folder.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"),
            *("-days", "2", "-subj", "/CN=portraitd test"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return Certificate(folder / "cert.pem", folder / "key.pem")
