"""A model is compared with the one in use by the people whom the user confirmed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from portraitd.clustering.pair_scores import compare_pairs, score_pairs
from portraitd.config import Settings
from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import MOBILEFACENET
from portraitd.model.errors import ConfigError, ModelError, StoreError
from portraitd.service.model_trial import try_model
from portraitd.service.own_model import add_own_model
from portraitd.store.confirmed_faces import read_confirmed_sample
from portraitd.store.database import Database
from support.cli_runner import make_runner
from support.embedding_rules import DLIB_RULES
from support.home import Home
from support.onnx_models import write_embedder
from support.pictures import MOBILEFACENET_FILE


@pytest.fixture(scope="module")
def settings(named_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A copy of a home with two named people, to which a small model was added."""
    folder = tmp_path_factory.mktemp("trial")
    shutil.copytree(named_home.settings.home_dir, folder / "home")
    given = named_home.settings.model_dump() | {"home": folder / "home"}
    settings = Settings.model_validate(given)
    file = write_embedder(folder / "mine.onnx", 256)
    add_own_model(settings, file, is_bgr=False, pixel_mean=127.5, pixel_scale=127.5)
    return settings


def test_two_models_are_compared_by_the_same_pairs(settings: Settings) -> None:
    """dlib's tells two people apart; one that averages colours does not."""
    trial = try_model(settings, "arcface", 1000)

    assert trial is not None
    assert ("dlib", "arcface", 2, 0) == (trial.in_use, trial.other, trial.people, trial.left_out)
    assert trial.faces * (trial.faces - 1) // 2 == trial.same + trial.different
    assert (1.0, 1.0) == (trial.in_use_score.precision, trial.in_use_score.recall)
    assert DLIB_RULES.grouping.agglomeration.max_distance == trial.in_use_score.distance
    # Too few pairs to say what would be one person to it.
    assert (None,) * 4 == trial.other_score


def test_nothing_is_changed_by_a_trial(settings: Settings) -> None:
    """Not even who is whose."""
    before = (settings.state_dir / "portraitd.sqlite3").read_bytes()
    try_model(settings, "arcface", 10)

    assert before == (settings.state_dir / "portraitd.sqlite3").read_bytes()


@pytest.mark.media
@pytest.mark.skipif(not MOBILEFACENET_FILE.exists(), reason="the models are not here")
def test_a_published_model_tells_the_two_apart(settings: Settings) -> None:
    """At the distance on its card."""
    model_registry.add_model(MOBILEFACENET, settings.models_dir, from_file=MOBILEFACENET_FILE)
    trial = try_model(settings, "mobilefacenet", 1000)

    assert trial is not None
    assert (1.0, 1.0) == (trial.other_score.precision, trial.other_score.recall)


def test_a_sample_is_spread_over_the_people(settings: Settings) -> None:
    """Each person gives the same number of tracks, while they have any."""
    with Database.open_to_read(settings.state_dir) as database:
        sample = read_confirmed_sample(database, "dlib-resnet-v1+mirror", 6)
        other = read_confirmed_sample(database, "another-model", 6)

    assert [3, 3] == np.unique(sample.people, return_counts=True)[1].tolist()
    assert (6, 128) == sample.embeddings.shape
    assert all(portrait.jpeg for portrait in sample.portraits)
    assert 0 == len(other.people)


def test_models_that_cannot_be_compared_are_named(settings: Settings, tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(ConfigError, match="dlib is the model in use"):
        try_model(settings, "dlib", 10)
    with pytest.raises(ModelError, match=r"sface was not added; run: portraitd models add sface"):
        try_model(settings, "sface", 10)
    with pytest.raises(ConfigError, match="unknown embedder 'unheard-of'"):
        try_model(settings, "unheard-of", 10)
    with pytest.raises(StoreError, match="nothing has been processed"):
        try_model(Settings(home=tmp_path), "dlib", 10)


def test_without_names_there_is_nothing_to_compare_by(
    two_found: Home,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """The command says what is missing; with names it prints both models."""
    run = make_runner(monkeypatch, capsys, tmp_path)
    home = tmp_path / "home"
    shutil.copytree(two_found.settings.home_dir, home)
    shutil.copytree(settings.models_dir, home / "state" / "models", dirs_exist_ok=True)

    unnamed = run("models", "try", "arcface", "--home", home)
    named = run("models", "try", "arcface", "--home", settings.home_dir)

    assert (1, 0) == (unnamed.returncode, named.returncode), unnamed.stderr + named.stderr
    assert "name at least two people" in unnamed.stdout
    head, _, in_use, other = named.stdout.splitlines()
    assert "faces of 2 confirmed people" in head and "pairs of one person" in head
    assert ["dlib", "(in", "use)", "1.000", "1.000", "0.550", "unknown"] == in_use.split()
    assert ["arcface", *["unknown"] * 4] == other.split()


def test_scores_count_pairs() -> None:
    """Two people of two faces; one face is nearer to the other person."""
    turns = np.radians([0.0, 20.0, 90.0, 28.0])
    vectors = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    pairs = compare_pairs(vectors, np.array([1, 1, 2, 2]))

    score = score_pairs(pairs, DLIB_RULES)

    # Within 0.55 of 1.4 are 22 degrees: one pair of one person, and one of two.
    assert (0.5, 0.5, None) == (score.precision, score.recall, score.recall_at_rate)


def test_models_are_compared_at_one_rate_of_false_matches() -> None:
    """A thousandth of the pairs of two people is within that distance, whatever the model's is."""
    random = np.random.default_rng(1)
    people = np.repeat(np.arange(20), 10)
    centres = random.normal(size=(20, 64))
    for noise, expected in ((0.1, 1.0), (3.0, 0.0)):
        vectors = (centres[people] + noise * random.normal(size=(200, 64))).astype(np.float32)
        pairs = compare_pairs(vectors, people)
        score = score_pairs(pairs, DLIB_RULES)

        assert 19_000 == len(pairs.different)
        assert score.recall_at_rate is not None
        assert abs(expected - score.recall_at_rate) < 0.1
