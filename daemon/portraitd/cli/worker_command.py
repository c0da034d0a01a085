"""``portraitd worker``: encode on this machine for a portraitd that runs on another."""

from __future__ import annotations

import os
from pathlib import Path

import click

from portraitd.config import SchedulerAddress
from portraitd.service import log_setup


@click.command()
@click.argument("address", required=False, default="")
@click.option("--scheduler-file", type=click.Path(path_type=Path), help="Instead of an address.")
@click.option("--processes", type=click.IntRange(1, 1024), help="Default: one for each core.")
@click.option("--name", default="", help="What the dashboard calls this worker.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Keeps networks, and files while they are worked on. Default: ~/.cache/portraitd-worker",
)
@click.option("--tls-ca", type=click.Path(path_type=Path), help="Whom to trust.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Who this worker is.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="And the key to that.")
@click.option("--insecure-address", is_flag=True, help="Speak in the clear on a network of yours.")
def worker(
    address: str,
    scheduler_file: Path | None,
    processes: int | None,
    name: str,
    folder: Path | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure_address: bool,
) -> None:
    """Encode for the portraitd that uses the Dask scheduler at ADDRESS (tcp://… or tls://…)."""
    from portraitd.service.remote import agent
    from portraitd.service.remote.dask_client import serve

    log_setup.configure()
    if folder is not None:
        os.environ[agent.FOLDER_VARIABLE] = str(folder.absolute())
    place = SchedulerAddress(address, scheduler_file, tls_ca, tls_cert, tls_key, insecure_address)
    cores = len(os.sched_getaffinity(0))
    serve(place, processes or cores, name, agent.end)
