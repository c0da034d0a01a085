"""``portraitd worker``: encode on this machine for a portraitd that runs on another."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.argument("address", required=False, default="")
@click.option(
    "--scheduler-file",
    type=click.Path(path_type=Path),
    help="Read the address from this file, as `dask scheduler --scheduler-file` writes it.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    help="Number of worker processes.  [default: one per core]",
)
@click.option("--name", default="", help="Name of this worker on the dashboard.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help=(
        "Folder for models, and for files while they are processed.  "
        "[default: ~/.cache/portraitd-worker]"
    ),
)
@click.option(
    "--tls-ca",
    type=click.Path(path_type=Path),
    help="CA certificate (PEM) that signs the scheduler.",
)
@click.option(
    "--tls-cert", type=click.Path(path_type=Path), help="This worker's certificate (PEM)."
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key of --tls-cert (PEM).")
@click.option(
    "--reduced-sandbox",
    is_flag=True,
    help="Run even if the kernel has no Landlock or no system call filter.",
)
def worker(
    address: str,
    scheduler_file: Path | None,
    processes: int | None,
    name: str,
    folder: Path | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    reduced_sandbox: bool,
) -> None:
    """Run a remote encoding worker (Dask).

    ADDRESS is that of the Dask scheduler which the portraitd service uses: tls://HOST:PORT, or
    tcp://127.0.0.1:PORT on this machine. The worker listens on the interface that leads there, and
    accepts only connections with a certificate of --tls-ca. Needs Dask (the package distributed).
    """
    from portraitd.config import SchedulerAddress
    from portraitd.service import log_setup
    from portraitd.service.remote import agent
    from portraitd.service.remote.dask_client import serve
    from portraitd.workers import sandbox

    log_setup.configure()
    if reduced_sandbox:
        os.environ[agent.REDUCED_VARIABLE] = "1"
    else:
        sandbox.require_support("--reduced-sandbox")
    if folder is not None:
        os.environ[agent.FOLDER_VARIABLE] = str(folder.absolute())
    scheduler = SchedulerAddress(address, scheduler_file, tls_ca, tls_cert, tls_key)
    cores = len(os.sched_getaffinity(0))
    serve(scheduler, processes or cores, name, agent.shut_down)
