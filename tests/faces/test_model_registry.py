"""Models that are added on the user's word: fetched, continued, verified, brought, removed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.faces.models import model_registry, user_models
from portraitd.faces.models.cards import (
    CARDS,
    DLIB,
    MMOD_CARD,
    MOBILEFACENET,
    RECOMMENDED,
    SFACE,
    YUNET,
    EmbedderCard,
    ModelCard,
)
from portraitd.faces.models.model_registry import (
    add_model,
    find_embedder,
    find_space,
    missing_recommended,
)
from portraitd.faces.models.weights import ModelFile
from portraitd.media.fs import locked
from portraitd.model.errors import ConfigError, ModelError
from support.embedding_rules import DLIB_RULES
from support.model_server import ModelServer, serve_models

CONTENT = bytes(range(256)) * 2000

MODEL = ModelCard(
    name="small",
    role="detector",
    file=ModelFile("small.onnx", hashlib.sha256(CONTENT).hexdigest(), "add it"),
    size_bytes=len(CONTENT),
    trained_on="nothing",
    licence="MIT",
    url="https://example.org/small.onnx",
    purpose="for tests",
)

PARTIAL = "small.onnx.part"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A server that has the model."""
    with serve_models() as server:
        server.files["/small.onnx"] = CONTENT
        yield server


def download(server: ModelServer, models: Path, path: str = "/small.onnx") -> Path:
    """Add the model from the server."""
    return add_model(MODEL, models, url=server.url + path)


def names(folder: Path) -> list[str]:
    """The names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_model_is_fetched_verified_and_kept(tmp_path: Path, server: ModelServer) -> None:
    """And removed again."""
    models = tmp_path / "models"

    kept = download(server, models)

    assert CONTENT == kept.read_bytes()
    assert model_registry.is_added(MODEL, models) and model_registry.is_intact(MODEL, models)
    assert kept == model_registry.require_added(MODEL, models)
    assert ["small.onnx"] == names(models)
    assert 0o600 == kept.stat().st_mode & 0o777
    assert model_registry.remove_model(MODEL, models)
    assert not model_registry.remove_model(MODEL, models)
    assert [] == names(models)


def test_a_model_that_is_there_is_not_fetched_again(tmp_path: Path, server: ModelServer) -> None:
    """Unless its content is damaged."""
    kept = download(server, tmp_path)
    download(server, tmp_path)
    assert 1 == len(server.requests)

    kept.write_bytes(CONTENT[:-1] + b"?")
    download(server, tmp_path)

    assert 2 == len(server.requests)
    assert CONTENT == kept.read_bytes()


def test_an_interrupted_download_continues_where_it_ended(
    tmp_path: Path, server: ModelServer
) -> None:
    """After each interruption; only what is missing is sent."""
    server.cuts_after = 200_000
    for received in (200_000, 400_000):
        with pytest.raises(ModelError, match=f"after {received} of 512000 bytes") as failed:
            download(server, tmp_path)
        assert "run the same command again" in str(failed.value)
        assert "portraitd models add small --from FILE" in str(failed.value)
        assert [PARTIAL] == names(tmp_path)

    kept = download(server, tmp_path)

    assert CONTENT == kept.read_bytes()
    assert ["", "bytes=200000-", "bytes=400000-"] == [span for _, span in server.requests]
    assert ["small.onnx"] == names(tmp_path)


def test_without_ranges_an_interrupted_download_starts_over(
    tmp_path: Path, server: ModelServer
) -> None:
    """The server sends everything again, and it is not appended."""
    server.cuts_after = 200_000
    with pytest.raises(ModelError, match="interrupted after 200000"):
        download(server, tmp_path)
    server.has_ranges, server.cuts_after = False, None

    assert CONTENT == download(server, tmp_path).read_bytes()


def test_a_partial_file_of_other_content_is_replaced(tmp_path: Path, server: ModelServer) -> None:
    """Whatever its size: what is there already is no beginning of the model."""
    for size in (1000, len(CONTENT), len(CONTENT) + 1):
        (tmp_path / PARTIAL).write_bytes(b"?" * size)

        assert CONTENT == download(server, tmp_path).read_bytes()
        assert ["small.onnx"] == names(tmp_path)
        model_registry.remove_model(MODEL, tmp_path)


def test_a_complete_partial_file_needs_no_server(tmp_path: Path) -> None:
    """The process ended between the last byte and the new name."""
    (tmp_path / PARTIAL).write_bytes(CONTENT)

    kept = add_model(MODEL, tmp_path, url="http://127.0.0.1:1/small.onnx")

    assert CONTENT == kept.read_bytes()


@pytest.mark.parametrize("sends_length", [True, False])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (CONTENT[::-1], "its content is different"),
        (CONTENT * 2, "bytes"),
        (b"<html>not here</html>", "bytes"),
    ],
    ids=["other", "longer", "page"],
)
def test_other_content_is_not_kept(
    tmp_path: Path, server: ModelServer, content: bytes, problem: str, sends_length: bool
) -> None:
    """The message says which hash was expected; a part of it is not kept either."""
    server.files["/small.onnx"], server.sends_length = content, sends_length
    if not sends_length and len(content) < len(CONTENT):
        # A connection that ends early looks the same.
        problem = "interrupted after 21 of 512000 bytes"
    with pytest.raises(ModelError, match=problem) as failed:
        download(server, tmp_path)

    if "interrupted" not in problem:
        assert MODEL.file.sha256 in str(failed.value)
        assert [] == names(tmp_path)
    assert "\n" not in str(failed.value)


def test_no_more_is_read_than_the_model_has(tmp_path: Path, server: ModelServer) -> None:
    """A server without a length sends a gigabyte: the disk never gets more than the model."""
    server.files["/small.onnx"], server.sends_length = CONTENT + bytes(50_000_000), False

    with pytest.raises(ModelError, match="it has more bytes"):
        download(server, tmp_path)

    assert [] == names(tmp_path)


@pytest.mark.parametrize("url", ["/missing.onnx", "http://127.0.0.1:1/small.onnx"])
def test_a_model_that_cannot_be_fetched_can_be_brought(
    tmp_path: Path, server: ModelServer, url: str
) -> None:
    """The message says how, in one line, and nothing is left."""
    address = url if url.startswith("http") else server.url + url
    with pytest.raises(ModelError, match="portraitd models add small --from FILE") as failed:
        add_model(MODEL, tmp_path, url=address)

    assert address in str(failed.value) and "\n" not in str(failed.value)
    assert [] == names(tmp_path)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://example.org/small.onnx", "ftp://example.org/small.onnx"]
)
def test_only_encrypted_addresses_are_allowed(
    tmp_path: Path, server: ModelServer, url: str
) -> None:
    """Also where a server redirects to."""
    server.redirects["/moved.onnx"] = url
    for address in (url, f"{server.url}/moved.onnx"):
        with pytest.raises(ModelError, match="is not allowed"):
            add_model(MODEL, tmp_path, url=address)
    assert [] == names(tmp_path)


def test_a_redirect_is_followed_and_continued(tmp_path: Path, server: ModelServer) -> None:
    """As public servers do."""
    server.redirects["/moved.onnx"] = f"{server.url}/small.onnx"
    server.cuts_after = 300_000
    with pytest.raises(ModelError, match="interrupted"):
        download(server, tmp_path, "/moved.onnx")

    assert CONTENT == download(server, tmp_path, "/moved.onnx").read_bytes()
    assert ("/small.onnx", "bytes=300000-") == server.requests[-1]


def test_two_commands_do_not_write_one_file(tmp_path: Path, server: ModelServer) -> None:
    """The second one says so."""
    with (
        locked(tmp_path / PARTIAL),
        pytest.raises(ModelError, match="is being downloaded by another command"),
    ):
        download(server, tmp_path)


def test_a_model_is_brought_as_a_file_or_in_a_folder(tmp_path: Path) -> None:
    """Under any name."""
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / "other.onnx").write_bytes(b"?")
    (folder / "renamed.onnx").write_bytes(CONTENT)
    for number, source in enumerate((folder / "renamed.onnx", folder)):
        models = tmp_path / f"models-{number}"
        assert CONTENT == add_model(MODEL, models, from_file=source).read_bytes()

    (folder / "renamed.onnx").unlink()
    with pytest.raises(ModelError, match=r"does not contain small\.onnx"):
        add_model(MODEL, tmp_path / "models", from_file=folder)
    with pytest.raises(ModelError, match=MODEL.file.sha256):
        add_model(MODEL, tmp_path / "models", from_file=folder / "other.onnx")
    with pytest.raises(ModelError, match=r"gone.*No such file"):
        add_model(MODEL, tmp_path / "models", from_file=tmp_path / "gone")
    with pytest.raises(ModelError, match="small was not added; add it"):
        model_registry.require_added(MODEL, tmp_path / "models")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, server: ModelServer) -> None:
    """A file is in its place."""
    (tmp_path / "models").write_bytes(b"")

    with pytest.raises(ModelError, match=r"models cannot be written: File exists"):
        download(server, tmp_path / "models")


@pytest.mark.parametrize("installed", [MMOD_CARD, DLIB], ids=lambda card: card.name)
def test_installed_models_are_not_added_or_removed(tmp_path: Path, installed: ModelCard) -> None:
    """They are there."""
    with pytest.raises(ModelError, match="is installed with portraitd and cannot be added"):
        add_model(installed, tmp_path)
    with pytest.raises(ModelError, match="is installed with portraitd and cannot be removed"):
        model_registry.remove_model(installed, tmp_path)


def test_models_have_names(tmp_path: Path) -> None:
    """An unknown one is answered with the known ones."""
    assert YUNET == model_registry.find_model("yunet")
    with pytest.raises(ConfigError, match="known models: yunet, mobilefacenet, sface, arcface"):
        model_registry.find_model("unheard-of")
    with pytest.raises(ConfigError, match="arcface, dlib, mobilefacenet, sface"):
        find_embedder("unheard-of", tmp_path)
    with pytest.raises(ConfigError, match="models add arcface --from FILE"):
        find_embedder("arcface", tmp_path)


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_every_card_is_complete(card: ModelCard) -> None:
    """And an address is pinned by a hash."""
    assert 64 == len(card.file.sha256) and card.size_bytes > 100_000
    assert card.licence and card.trained_on and card.purpose
    assert card.url.startswith("https://") == (card.name not in model_registry.INSTALLED)


def test_auto_misses_the_recommended_models(tmp_path: Path) -> None:
    """A model that the settings name is not missed, and the reference cannot run others."""
    assert ["yunet", "mobilefacenet"] == missing_recommended("onnx", "auto", "auto", tmp_path)
    assert ["mobilefacenet"] == missing_recommended("onnx", "mmod", "auto", tmp_path)
    assert ["yunet"] == missing_recommended("onnx", "auto", "dlib", tmp_path)
    assert [] == missing_recommended("dlib", "auto", "auto", tmp_path)
    model_registry.choose(DLIB, tmp_path)
    assert ["yunet"] == missing_recommended("onnx", "auto", "auto", tmp_path)
    for card in RECOMMENDED:
        model_registry.model_path(card, tmp_path).touch()
    assert [] == missing_recommended("onnx", "auto", "auto", tmp_path)


OWN = user_models.make_user_card("ab" * 32, 1000, 512, is_bgr=True, pixel_mean=0, pixel_scale=255)


def test_the_card_of_a_brought_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    """By its name and by the space of its vectors; with its rules once they are measured."""
    user_models.write_user_card(OWN, tmp_path)
    assert find_embedder("arcface", tmp_path) == OWN
    assert find_space("arcface-abababababab+mirror", tmp_path) == OWN

    measured = user_models.keep_rules(OWN, tmp_path, DLIB_RULES)

    assert DLIB_RULES == measured.rules
    assert find_embedder("arcface", tmp_path) == measured


@pytest.mark.parametrize("card", [DLIB, MOBILEFACENET], ids=lambda card: card.name)
def test_every_number_of_a_card_is_kept(tmp_path: Path, card: EmbedderCard) -> None:
    """Whatever kinds of rules there are."""
    measured = user_models.keep_rules(OWN, tmp_path, model_registry.require_rules(card))

    assert find_embedder("arcface", tmp_path) == measured


def test_rules_measured_for_a_published_model_are_kept_beside_it(tmp_path: Path) -> None:
    """They end with the model."""
    assert find_embedder("sface", tmp_path).rules is None
    user_models.keep_rules(SFACE, tmp_path, DLIB_RULES)

    assert DLIB_RULES == find_embedder("sface", tmp_path).rules
    assert DLIB_RULES == find_space(SFACE.space, tmp_path).rules
    model_registry.remove_model(SFACE, tmp_path)
    assert find_embedder("sface", tmp_path).rules is None


def test_measured_rules_do_not_replace_those_of_a_card(tmp_path: Path) -> None:
    """A file beside it changes nothing."""
    user_models.keep_rules(MOBILEFACENET, tmp_path, DLIB_RULES)

    assert find_embedder("mobilefacenet", tmp_path) == MOBILEFACENET


@pytest.mark.parametrize(
    "change",
    [
        {"embedding_size": 7},
        {"embedding_size": 10**6},
        {"embedding_size": "many"},
        {"sha256": "short"},
        {"pixel_scale": float("nan")},
    ],
    ids=str,
)
def test_a_damaged_card_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    """With what to do."""
    user_models.write_user_card(OWN, tmp_path)
    path = tmp_path / "arcface.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))

    with pytest.raises(ConfigError, match=r"arcface\.json .*models add arcface --from FILE"):
        find_embedder("arcface", tmp_path)


@pytest.mark.parametrize("rules", [{"vector_length": 1.0}, {"unheard_of": 1.0}, 7, [], "many"])
def test_rules_of_another_version_count_as_not_measured(tmp_path: Path, rules: object) -> None:
    """The card is good; the message says how to measure them again."""
    user_models.write_user_card(OWN, tmp_path)
    path = tmp_path / "arcface.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"rules": rules}))

    assert find_embedder("arcface", tmp_path) == OWN
    with pytest.raises(ConfigError, match="portraitd models use arcface"):
        model_registry.require_rules(find_embedder("arcface", tmp_path))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_card_that_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    """As any file may be damaged."""
    (tmp_path / "arcface.json").write_bytes(content)

    with pytest.raises(ConfigError, match=r"arcface\.json cannot be read"):
        find_embedder("arcface", tmp_path)


def test_vectors_of_a_model_that_is_gone_are_named(tmp_path: Path) -> None:
    """By the hash of its file: only that file helps."""
    with pytest.raises(ConfigError, match="whose SHA-256 begins with 0123456789ab"):
        find_space("arcface-0123456789ab+mirror", tmp_path)
    with pytest.raises(ConfigError, match="unheard-of-v7, is not known"):
        find_space("unheard-of-v7", tmp_path)
