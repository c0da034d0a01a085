"""A model is chosen for the home; what that would change can be seen first."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import DLIB, MMOD_CARD, MOBILEFACENET, SFACE, YUNET
from portraitd.model.errors import ConfigError, ModelError
from portraitd.service.embedder_choice import models_in_use
from portraitd.service.model_use import propose_model, use_model
from support.home import Home
from support.pictures import MOBILEFACENET_FILE, YUNET_FILE
from support.reviews import copied

pytestmark = [
    pytest.mark.media,
    pytest.mark.skipif(not MOBILEFACENET_FILE.exists(), reason="the model is not here"),
]


@pytest.fixture
def home(two_found: Home, tmp_path: Path) -> Home:
    """Two people with dlib's vectors; both recommended models were added."""
    home = copied(two_found, tmp_path)
    models = home.settings.models_dir
    model_registry.add_model(MOBILEFACENET, models, from_file=MOBILEFACENET_FILE)
    model_registry.add_model(YUNET, models, from_file=YUNET_FILE)
    return Home(home.settings.home_dir, encoder={"kind": "onnx", "detector": "auto"})


def test_what_was_chosen_is_what_auto_means(home: Home) -> None:
    """Until it is removed; without a choice, the added ones are used."""
    settings = home.settings
    assert (MOBILEFACENET.name, YUNET.name) == models_in_use(settings)

    use_model(settings, DLIB.name)
    use_model(settings, MMOD_CARD.name)
    assert (DLIB.name, MMOD_CARD.name) == models_in_use(settings)

    use_model(settings, MOBILEFACENET.name)
    use_model(settings, YUNET.name)
    assert (MOBILEFACENET.name, YUNET.name) == models_in_use(settings)

    model_registry.remove_model(MOBILEFACENET, settings.models_dir)
    assert (DLIB.name, YUNET.name) == models_in_use(settings)


def test_a_model_that_is_not_there_cannot_be_used(home: Home) -> None:
    """Nor one that the settings contradict."""
    with pytest.raises(ModelError, match="sface was not added"):
        use_model(home.settings, SFACE.name)
    with pytest.raises(ConfigError, match="unknown model"):
        use_model(home.settings, "unheard-of")
    fixed = Home(home.settings.home_dir, encoder={"kind": "onnx", "embedder": "dlib"})
    with pytest.raises(ConfigError, match=r'encoder\.embedder = "dlib"'):
        use_model(fixed.settings, MOBILEFACENET.name)


def test_a_dry_run_shows_the_difference_and_changes_nothing(home: Home) -> None:
    """On a copy: the faces of the home keep their vectors."""
    before = home.rows("faces")

    proposal = propose_model(home.settings, MOBILEFACENET.name)

    assert 2 == proposal.people_before == proposal.people_after
    assert 0 == proposal.churn
    assert () == proposal.names_lost
    assert before == home.rows("faces")
    assert not (home.settings.models_dir / model_registry.CHOICE_FILE).exists()


def test_a_damaged_choice_is_no_choice(home: Home) -> None:
    """The file can be deleted, or be anything."""
    for content in (
        b"", b"[]", b'{"embedder": 7}', b'{"embedder": "yunet"}', b'{"embedder": "mmod"}', b"\xff"
    ):  # fmt: skip
        (home.settings.models_dir / model_registry.CHOICE_FILE).write_bytes(content)
        assert (MOBILEFACENET.name, YUNET.name) == models_in_use(home.settings)
