"""A model that the user brings: tried in a worker before it is copied, and never trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.config import Settings
from portraitd.faces.models import user_models
from portraitd.faces.models.model_registry import find_embedder
from portraitd.faces.models.weights import read_verified
from portraitd.model.errors import ModelError
from portraitd.service.own_model import add_own_model
from support.embedding_rules import DLIB_RULES
from support.onnx_models import with_external_weights, write_embedder
from support.pictures import MOBILEFACENET_FILE, YUNET_FILE


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home without anything in it."""
    return Settings(home=tmp_path / "home")


def add(settings: Settings, file: Path, is_bgr: bool = False) -> user_models.EmbedderCard:
    """Add a model with the usual statistics."""
    return add_own_model(settings, file, is_bgr=is_bgr, pixel_mean=127.5, pixel_scale=127.5)


@pytest.mark.parametrize("keeps_axes", [False, True])
@pytest.mark.parametrize("batch", ["n", 1])
def test_a_model_is_copied_with_its_card(
    settings: Settings, tmp_path: Path, batch: int | str, keeps_axes: bool
) -> None:
    """Also one that is made for single pictures, or whose output is not quite flat."""
    file = write_embedder(tmp_path / "mine.onnx", 512, batch=batch, keeps_axes=keeps_axes)

    card = add(settings, file, is_bgr=True)

    assert (512, "bgr", (127.5,) * 3) == (card.embedding_size, card.channels, card.pixel_mean)
    assert card == find_embedder("arcface", settings.models_dir)
    assert read_verified(card.file, settings.models_dir / "arcface.onnx") == file.read_bytes()
    assert f"arcface-{card.file.sha256[:12]}" == card.space
    assert ["arcface.json", "arcface.onnx"] == sorted(
        path.name for path in settings.models_dir.iterdir()
    )


def test_the_same_model_keeps_its_rules_and_another_does_not(
    settings: Settings, tmp_path: Path
) -> None:
    """Added twice; then with another order of colours, which gives other vectors."""
    file = write_embedder(tmp_path / "mine.onnx", 128)
    user_models.keep_rules(add(settings, file), settings.models_dir, DLIB_RULES)

    assert DLIB_RULES == add(settings, file).rules
    assert add(settings, file, is_bgr=True).rules is None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"size": 63}, "it gives 63 numbers"),
        ({"size": 1025}, "it gives 1025 numbers"),
        ({"size": 128, "batch": 8}, "it takes 8 pictures at once"),
        ({"size": 128, "outputs": 2}, "it has 1 inputs and 2 outputs"),
        ({"size": 128, "shape": (112, 112, 3)}, r"its input is float \(n, 112, 112, 3\)"),
        ({"size": 128, "shape": (3, 160, 160)}, r"its input is float \(n, 3, 160, 160\)"),
        ({"size": 128, "gain": 0.0}, "the same numbers for different pictures"),
        ({"size": 128, "gain": float("inf")}, "does not give 128 numbers"),
    ],
    ids=str,
)
def test_what_is_not_an_embedder_is_refused(
    settings: Settings, tmp_path: Path, options: dict[str, int], problem: str
) -> None:
    """With what was found, in one line; nothing is left in the folder."""
    file = write_embedder(tmp_path / "mine.onnx", **options)

    with pytest.raises(ModelError, match=problem) as refused:
        add(settings, file)

    assert str(refused.value).startswith(f"{file} was not added: ")
    assert "\n" not in str(refused.value)
    assert [] == list(settings.models_dir.iterdir())


@pytest.mark.parametrize("weights", ["weights.bin", "/etc/passwd", "../../secret"])
def test_a_model_that_refers_to_other_files_is_refused(
    settings: Settings, tmp_path: Path, weights: str
) -> None:
    """Whatever they are, and whether they are there or not."""
    file = write_embedder(tmp_path / "mine.onnx", 128)
    with_external_weights(file, weights)

    with pytest.raises(ModelError, match="its weights are in other files"):
        add(settings, file)


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07" * 5000])
def test_a_damaged_file_is_refused(settings: Settings, tmp_path: Path, content: bytes) -> None:
    """And the model that was there stays."""
    first = write_embedder(tmp_path / "mine.onnx", 128)
    card = add(settings, first)
    (tmp_path / "other.onnx").write_bytes(content)

    with pytest.raises(ModelError, match="was not added"):
        add(settings, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"gone\.onnx cannot be read: No such file"):
        add(settings, tmp_path / "gone.onnx")

    assert card == find_embedder("arcface", settings.models_dir)
    assert (settings.models_dir / "arcface.onnx").read_bytes() == first.read_bytes()


@pytest.mark.media
@pytest.mark.skipif(not MOBILEFACENET_FILE.exists(), reason="the models are not here")
def test_published_models_are_told_apart(settings: Settings) -> None:
    """MobileFaceNet is an embedder, and a detector is not."""
    assert 128 == add(settings, MOBILEFACENET_FILE).embedding_size
    with pytest.raises(ModelError, match="12 outputs"):
        add(settings, YUNET_FILE)
