"""``portraitd who``: find who a picture shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from portraitd.cli.options import PathArgument, with_settings
from portraitd.ingest import media_jobs

if TYPE_CHECKING:
    from portraitd.config import Settings
    from portraitd.model.face import SliceFaces


@click.command()
@with_settings
@click.argument("picture", type=PathArgument())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def who(settings: Settings, picture: Path, as_json: bool) -> None:
    """Show who the faces in a picture belong to.

    Also shows how likely that is. PICTURE is compared with all known people, and not stored. The
    service may be running.
    """
    import json

    from portraitd.people.references.picture_answer import (
        describe_faces,
        faces_as_json,
        identify_faces,
        summarise,
    )
    from portraitd.service.embedder_choice import choose_encoder
    from portraitd.store.database import Database
    from portraitd.store.files import display_path

    with Database.open_to_read(settings.state_dir) as database:
        in_use = choose_encoder(settings, database).settings
        found, space = _find_faces(in_use, picture)
        faces = identify_faces(database, found, space)
    if as_json:
        answer = {"picture": display_path(picture), "faces": faces_as_json(faces)}
        click.echo(json.dumps(answer, ensure_ascii=False))
        return
    for line in describe_faces(faces):
        click.echo(line)
    if len(faces) > 1:
        click.echo(summarise(faces))


def _find_faces(settings: Settings, picture: Path) -> tuple[SliceFaces, str]:
    """Have a worker in a sandbox find the faces; return them with their embedding space.

    Raises:
        ConfigError: The file is no picture.
    """
    import os

    from portraitd.ingest.dispatcher import encode_options
    from portraitd.model.errors import ConfigError, VideoError
    from portraitd.model.media_file import Source, Stamp
    from portraitd.service.pools import decoding_pool

    path = picture.absolute()
    source = Source(path, Stamp.of(os.stat(path)))
    one_worker = settings.workers.model_copy(update={"count": 1})
    settings = settings.model_copy(update={"workers": one_worker})
    options = encode_options(settings)._replace(keeps_frames=False)
    pool = decoding_pool(settings, options.encoder)
    try:
        found = pool.submit(media_jobs.encode_picture, source, options).result()
    except VideoError as error:
        raise ConfigError(f"{picture}: {error}") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return found, options.encoder.embedding_space
