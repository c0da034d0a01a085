"""Stored faces change over to another embedding model; people, names and edits stay as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import DLIB, MOBILEFACENET
from portraitd.ingest.dispatcher import encode_options
from portraitd.service.embedder_choice import choose_encoder
from portraitd.store.database import Database
from portraitd.workers.pool import InlineExecutor
from support.dataset_home import build_set, with_dataset
from support.executors import HeldExecutor
from support.home import Home, assert_sound
from support.media import as_jpeg
from support.pictures import MOBILEFACENET_FILE
from support.reviews import ANN, BOB, copied, folders, ledger, move

pytestmark = [
    pytest.mark.media,
    pytest.mark.skipif(not MOBILEFACENET_FILE.exists(), reason="the model is not here"),
]

NEW_SPACE = "mobilefacenet-foamliu+mirror"


@pytest.fixture
def home(two_found: Home, tmp_path: Path) -> Home:
    """Two people of a clip with dlib's vectors, one named, one portrait moved; the model added."""
    home = copied(two_found, tmp_path)
    (home.people / ANN).rename(home.people / "Ann")
    home.run()
    model_registry.add_model(MOBILEFACENET, home.settings.models_dir, from_file=MOBILEFACENET_FILE)
    return home


def with_new_model(home: Home) -> Home:
    return Home(
        home.settings.home_dir,
        encoder={"kind": "onnx", "detector": "hog", "embedder": "mobilefacenet"},
        grouping={"min_samples": 2},
    )


def connect(home: Home) -> sqlite3.Connection:
    connection = sqlite3.connect(home.settings.state_dir / "portraitd.sqlite3")
    connection.row_factory = sqlite3.Row
    return connection


def persons(home: Home) -> dict[int, int | None]:
    return {row["id"]: row["person_id"] for row in home.rows("faces")}


def spaces(home: Home) -> set[str]:
    return {row["encoder"] for row in home.rows("faces")}


class Counting(InlineExecutor):
    """Runs jobs inline, and counts the portraits that were embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.portraits = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if fn.__name__ == "embed_portraits":
            self.portraits += len(args[0])
        return super().submit(fn, *args, **kwargs)


def test_everybody_stays_who_they_are(home: Home, photographs: list[Path]) -> None:
    """The same faces, tracks, people, names, folders and edits; a later photo joins its person."""
    before, tracks, seen = persons(home), home.rows("tracks"), folders(home)
    edits = ledger(home)
    again = with_new_model(home)

    again.run()

    assert {NEW_SPACE} == spaces(again)
    assert before == persons(again)
    assert seen == folders(again)
    assert edits == ledger(again)
    after = again.rows("tracks")
    assert [(row["id"], row["best_face_id"]) for row in tracks] == [
        (row["id"], row["best_face_id"]) for row in after
    ]
    assert all(old["embedding"] != new["embedding"] for old, new in zip(tracks, after, strict=True))
    lengths = [np.linalg.norm(np.frombuffer(row["embedding"], "<f4")) for row in after]
    assert max(lengths) <= 1.0 + 1e-5

    again.drop(as_jpeg(photographs[0]), "later.jpg")
    again.run()

    assert seen.keys() == folders(again).keys()
    assert_sound(again.settings)


def test_a_training_set_keeps_classes_and_splits(home: Home) -> None:
    """Which faces are near-duplicates changes; a picture that stays is where it was."""
    home = with_dataset(home, people="all")
    build_set(home)

    def recorded() -> tuple[list[tuple[object, ...]], dict[str, str]]:
        with closing(connect(home)) as connection:
            splits = connection.execute("select key, split from splits").fetchall()
            holders = connection.execute("select class_id, person_id from class_holders").fetchall()
        return [tuple(row) for row in holders], {row["key"]: row["split"] for row in splits}

    holders, splits = recorded()
    again = with_dataset(with_new_model(home), people="all")
    again.run()
    assert {NEW_SPACE} == spaces(again)
    build_set(again)

    assert holders == recorded()[0]
    assert splits.items() <= recorded()[1].items()
    assert len(splits) > 1


def test_a_crash_loses_no_vector(home: Home) -> None:
    """What was embedded before the crash is not embedded again."""
    again, faces = with_new_model(home), len(home.rows("faces"))
    held = HeldExecutor()
    with again.opened(executor=held) as service:
        service.reembedding.tick(again.now)
        assert 1 == len(held.jobs)
        held.answer()
        service.reembedding.tick(again.now)
    with closing(connect(home)) as connection:
        [kept] = connection.execute("select count(*) from reembedded").fetchone()
    counting = Counting()

    with again.opened(executor=counting) as service:
        again.run_until_idle(service)

    assert kept > 0
    assert faces == kept + counting.portraits
    assert {NEW_SPACE} == spaces(again)
    with closing(connect(home)) as connection:
        assert (0,) == tuple(connection.execute("select count(*) from reembedded").fetchone())


def test_a_portrait_that_cannot_do_is_read_from_its_file(home: Home) -> None:
    """A damaged portrait costs one look into the video; without the video, it is frozen."""
    one = home.rows("faces")[0]["id"]
    with closing(connect(home)) as connection, connection:
        connection.execute("update portraits set jpeg = x'ffd8ff00' where face_id = ?", (one,))
    again = with_new_model(home)

    again.run()

    assert {NEW_SPACE} == spaces(again)
    assert [0] == [row["frozen"] for row in again.rows("videos")]


def test_without_portrait_and_file_a_recording_stays_as_it_was(home: Home) -> None:
    """It keeps its people, and takes no part in grouping."""
    before = persons(home)
    (home.inbox / "clip.mp4").unlink()
    with closing(connect(home)) as connection, connection:
        connection.execute(
            "update portraits set jpeg = x'ffd8ff00' where face_id = ?", (min(before),)
        )
    again = with_new_model(home)

    again.run()

    assert {f"{DLIB.space}+mirror"} == spaces(again)
    assert [1] == [row["frozen"] for row in again.rows("videos")]
    assert before == persons(again)


def test_new_faces_get_the_model_of_the_stored_ones_until_all_have_changed(home: Home) -> None:
    """Vectors of two models are never mixed."""
    settings = with_new_model(home).settings
    with Database.open(settings.state_dir) as database:
        in_use, target = choose_encoder(settings, database)
        assert DLIB.name == in_use.encoder.embedder
        assert target is not None
        assert NEW_SPACE == target.embedding_space
    with_new_model(home).run()
    with Database.open(settings.state_dir) as database:
        in_use, target = choose_encoder(settings, database)
    assert MOBILEFACENET.name == in_use.encoder.embedder
    assert target is None
    assert NEW_SPACE == encode_options(in_use).encoder.embedding_space


def test_without_the_file_of_the_stored_model_all_change_at_once(home: Home) -> None:
    """The user removed it by hand: new faces get the wanted model, and the old ones follow."""
    with_new_model(home).run()
    (home.settings.models_dir / MOBILEFACENET.file.name).unlink()
    with Database.open(home.settings.state_dir) as database:
        in_use, target = choose_encoder(home.settings, database)
    assert DLIB.name == in_use.encoder.embedder
    assert target is not None

    home.run()

    assert {f"{DLIB.space}+mirror"} == spaces(home)


@pytest.fixture
def failing(home: Home) -> Iterator[Home]:
    yield with_new_model(home)


def test_a_worker_that_fails_costs_one_face_at_a_time(failing: Home) -> None:
    """The stage says what is wrong, waits, and goes on with the others."""
    held = HeldExecutor()
    with failing.opened(executor=held) as service:
        stage = service.reembedding
        for _ in range(40):
            stage.tick(failing.now)
            held.fail(RuntimeError("no memory"))
            stage.tick(failing.now)
            failing.steady_s += 61.0
            if not stage.pending or stage.blocked:
                break
        assert "reembedding_paused" == stage.blocked.code
    failing.run()
    assert {NEW_SPACE} == spaces(failing)


def test_moved_portraits_stay_where_they_were_moved(home: Home) -> None:
    """A correction is about a face, whatever its vector."""
    face = min(face for face, person in persons(home).items() if person == 1)
    move(home.people / "Ann" / f"{face:06d}.jpg", home.people / BOB)
    home.run()
    assert 2 == persons(home)[face]

    again = with_new_model(home)
    again.run()

    assert 2 == persons(again)[face]
