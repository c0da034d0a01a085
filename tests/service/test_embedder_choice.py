"""A running service notices that another model is to be used, also under the same name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from portraitd.config import Settings
from portraitd.faces.models.user_models import ARCFACE, make_user_card, write_user_card
from portraitd.faces.models.weights import make_models_dir
from portraitd.service.embedder_choice import identify_models, models_in_use


def add_arcface(models_dir: Path, content: bytes, *, is_bgr: bool = False) -> None:
    """Add a file as ``models add arcface`` does, without running it."""
    (models_dir / "arcface.onnx").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    write_user_card(make_user_card(sha256, len(content), 128, is_bgr=is_bgr), models_dir)


def test_another_file_under_the_same_name_is_another_model(tmp_path: Path) -> None:
    """So are other colours; the same file once more is the same model."""
    settings = Settings.model_validate({"home": tmp_path, "encoder": {"embedder": ARCFACE}})
    make_models_dir(settings.models_dir)
    found = []
    for content, is_bgr in ((b"one", False), (b"one", False), (b"two", False), (b"two", True)):
        add_arcface(settings.models_dir, content, is_bgr=is_bgr)
        assert ARCFACE == models_in_use(settings)[0]
        found.append(identify_models(settings))

    assert found[0] == found[1]
    assert 3 == len(set(found))
