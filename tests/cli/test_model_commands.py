"""``portraitd models``: what users see when they add, list, compare and remove models."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from portraitd.faces.models import model_registry
from portraitd.faces.models.cards import MOBILEFACENET, RECOMMENDED, YUNET
from support.cli_runner import RunCommand, make_runner, stderr_of
from support.home import Home
from support.model_server import ModelServer, serve_models
from support.onnx_models import write_embedder
from support.pictures import MOBILEFACENET_FILE, SHARED, YUNET_FILE
from support.reviews import copied

MODELS_FOLDER = SHARED / "models"

needs_models = [
    pytest.mark.media,
    pytest.mark.skipif(not MOBILEFACENET_FILE.exists(), reason="the models are not here"),
]


def marked(test: Any) -> Any:
    """Mark a test that needs the published models."""
    for mark in needs_models:
        test = mark(test)
    return test


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCommand:
    """Run a command in this process."""
    return make_runner(monkeypatch, capsys, tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty folder, which becomes a home."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A server on this machine."""
    with serve_models() as server:
        yield server


def states(run: RunCommand, home: Path, *options: str) -> dict[str, str]:
    """The state of each model."""
    answer = run("models", "list", "--json", "--home", home, *options)
    assert 0 == answer.returncode, answer.stderr
    listed = [json.loads(line) for line in answer.stdout.splitlines()]
    return {facts["name"]: facts["state"] for facts in listed}


def test_all_models_are_listed(run: RunCommand, home: Path) -> None:
    """Before anything was added: what is in use, and what would be better."""
    answer = run("models", "list", "--home", home)

    assert 0 == answer.returncode
    first_lines = [line for line in answer.stdout.splitlines() if not line.startswith(" ")]
    assert ["mmod", "yunet", "dlib", "mobilefacenet", "sface"] == [
        line.split()[0] for line in first_lines
    ]
    assert ["in use", "not added, recommended"] * 2 + ["not added"] == [
        line.split("MB  ")[1] for line in first_lines
    ]
    assert 3 * 5 == sum(
        line.startswith(("    quality:", "    speed:", "    licence:"))
        for line in answer.stdout.splitlines()
    )


def test_the_settings_decide_what_is_in_use(run: RunCommand, home: Path) -> None:
    """Also if they name a model that is not there: then nothing can run."""
    assert {"dlib"} == {
        name
        for name, state in states(
            run, home, "--set", "encoder.kind=dlib", "--set", "encoder.detector=hog"
        ).items()
        if state == "in_use"
    }
    assert "in_use" not in states(run, home, "--set", "encoder.embedder=arcface").values()


@marked
def test_the_recommended_models_come_from_a_folder(run: RunCommand, home: Path) -> None:
    """And are in use at once; a second time nothing happens."""
    first = run("models", "add", "recommended", "--from", MODELS_FOLDER, "--home", home)
    second = run("models", "add", "recommended", "--from", "/nowhere", "--home", home)

    assert (0, 0) == (first.returncode, second.returncode), first.stderr + second.stderr
    assert 2 == first.stdout.count("added ")
    assert "finds faces with yunet and recognises them with mobilefacenet" in first.stdout
    assert "yunet is there already\nmobilefacenet is there already\n" in second.stdout
    assert {"mmod": "installed", "yunet": "in_use", "dlib": "installed"}.items() <= (
        found := states(run, home)
    ).items()
    assert ("in_use", "not_added") == (found["mobilefacenet"], found["sface"])


@marked
def test_a_download_is_continued_by_the_same_command(
    run: RunCommand, home: Path, server: ModelServer
) -> None:
    """From a server, without what was received before."""
    server.files["/m.onnx"] = MOBILEFACENET_FILE.read_bytes()
    server.cuts_after = 3_000_000
    command = ("models", "add", "mobilefacenet", "--url", f"{server.url}/m.onnx", "--home", home)

    cut = run(*command)
    whole = run(*command)

    assert 78 == cut.returncode and 0 == whole.returncode
    assert "after 3000000 of 3998070 bytes" in stderr_of(cut)
    assert "bytes=3000000-" == server.requests[-1][1]
    assert "in_use" == states(run, home)["mobilefacenet"]


def test_without_a_network_one_line_says_what_to_do(
    run: RunCommand, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For both models at once, or for one."""
    # A proxy that does not exist.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")

    for name, source in (("recommended", "FOLDER"), ("yunet", "FILE")):
        answer = run("models", "add", name, "--home", home)

        assert 78 == answer.returncode
        (line,) = stderr_of(answer).splitlines()
        assert line.endswith(f"without a network, run: portraitd models add {name} --from {source}")
    assert "" == answer.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["add", "unheard-of"], 78, "known models: yunet, mobilefacenet, sface, arcface"),
        (["add", "dlib"], 78, "dlib is installed with portraitd and cannot be added"),
        (["remove", "mmod"], 78, "mmod is installed with portraitd and cannot be removed"),
        (["add", "arcface"], 64, "use --from FILE"),
        (["add", "yunet", "--bgr"], 64, "for arcface only"),
        (["add", "recommended", "--url", "https://example.org"], 64, "one by one"),
        (["add", "arcface", "--from", "/nowhere"], 78, "/nowhere cannot be read: No such file"),
        (["add", "yunet", "--from", "/nowhere"], 78, "/nowhere cannot be read: No such file"),
        (["add", "arcface", "--from", "x", "--scale", "0"], 64, "--scale"),
    ],
    ids=str,
)
def test_wrong_requests_are_refused(
    run: RunCommand, home: Path, arguments: list[str], code: int, problem: str
) -> None:
    """In one line for what is wrong with a model, with the usage for what is wrong with options."""
    answer = run("models", *arguments, "--home", home)

    assert code == answer.returncode
    assert problem in stderr_of(answer)


def test_a_model_of_ones_own_is_added_listed_and_removed(
    run: RunCommand, home: Path, tmp_path: Path
) -> None:
    """With its statistics; it is used on the user's word only."""
    file = write_embedder(tmp_path / "mine.onnx", 256)
    options = ("--bgr", "--mean", "0", "--scale", "255")

    answer = run("models", "add", "arcface", "--from", file, *options, "--home", home)

    assert 0 == answer.returncode, answer.stderr
    assert "256 numbers" in answer.stdout and "models try arcface" in answer.stdout
    assert {0o700} == {
        path.stat().st_mode & 0o777 for path in (home / "state", home / "state" / "models")
    }
    card = json.loads((home / "state" / "models" / "arcface.json").read_bytes())
    assert ("bgr", 0, 255, 256) == (
        card["channels"], card["pixel_mean"], card["pixel_scale"], card["embedding_size"]
    )  # fmt: skip
    assert "added" == states(run, home)["arcface"]
    assert "in_use" == states(run, home, "--set", "encoder.embedder=arcface")["arcface"]
    assert "removed arcface\n" == run("models", "remove", "arcface", "--home", home).stdout
    assert "arcface was not added\n" == run("models", "remove", "arcface", "--home", home).stdout
    assert [] == list((home / "state" / "models").iterdir())


def test_a_damaged_model_is_listed_as_damaged(run: RunCommand, home: Path) -> None:
    """And adding it again repairs it."""
    folder = home / "state" / "models"
    folder.mkdir(parents=True)
    model_registry.model_path(YUNET, folder).write_bytes(b"rotten")

    assert "damaged" == states(run, home)["yunet"]
    assert "DAMAGED: add it again" in run("models", "list", "--home", home).stdout


@marked
def test_a_model_that_is_needed_is_not_removed(run: RunCommand, home: Path) -> None:
    """By the settings, or by the stored faces."""
    run("models", "add", "recommended", "--from", MODELS_FOLDER, "--home", home)
    named = ("--set", "encoder.detector=yunet")

    refused = run("models", "remove", "yunet", "--home", home, *named)

    assert 78 == refused.returncode
    assert 'encoder.detector = "yunet"; change that first' in stderr_of(refused)
    assert "removed yunet\n" == run("models", "remove", "yunet", "--home", home).stdout
    assert (
        "removed mobilefacenet\n" == run("models", "remove", "mobilefacenet", "--home", home).stdout
    )


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, photographs: list[Path]) -> Home:
    """A home whose faces were embedded with MobileFaceNet."""
    home = Home(
        tmp_path_factory.mktemp("embedded") / "home",
        encoder={"kind": "onnx", "detector": "yunet", "runtime": "onnxruntime"},
    )
    for card, file in zip(RECOMMENDED, (YUNET_FILE, MOBILEFACENET_FILE), strict=True):
        model_registry.add_model(card, home.settings.models_dir, from_file=file)
    for photograph in photographs:
        home.drop(photograph, photograph.name)
    home.run()
    return home


@marked
def test_a_model_of_stored_faces_stays(run: RunCommand, embedded: Home) -> None:
    """Without it, no new face could be compared with them."""
    folder = embedded.settings.home_dir

    refused = run("models", "remove", "mobilefacenet", "--home", folder)

    assert 78 == refused.returncode
    assert "portraitd models use dlib" in stderr_of(refused)
    assert model_registry.is_intact(MOBILEFACENET, embedded.settings.models_dir)


COST = "East Asian people above all; run: portraitd models add recommended"


def test_missing_models_are_mentioned_once(run: RunCommand, home: Path) -> None:
    """By init, status and check, in one line; as a list for scripts."""
    init = run("init", "--home", home)
    table = run("status", "--home", home)
    facts = json.loads(run("status", "--json", "--home", home).stdout)

    assert [1, 1] == [init.stdout.count(COST), table.stdout.count(COST)]
    assert f"{COST} --home {home}" in init.stdout
    assert ["yunet", "mobilefacenet"] == facts["missing_models"]


def test_models_that_the_settings_name_are_not_missed(run: RunCommand, home: Path) -> None:
    """The user has decided."""
    chosen = ("--set", "encoder.embedder=dlib")

    init = run("init", "--home", home, *chosen)
    facts = json.loads(run("status", "--json", "--home", home, *chosen).stdout)

    assert COST not in init.stdout
    assert 1 == init.stdout.count("misses small faces; run: portraitd models add recommended")
    assert ["yunet"] == facts["missing_models"]


@marked
def test_with_the_recommended_models_nothing_is_mentioned(run: RunCommand, embedded: Home) -> None:
    """And check says what the service uses."""
    folder = embedded.settings.home_dir
    real = ("--set", "encoder.runtime=onnxruntime")

    checked = run("check", "--home", folder, *real)
    facts = json.loads(run("status", "--json", "--home", folder).stdout)

    assert [] == facts["missing_models"]
    assert "models add" not in checked.stdout
    assert "ok   detector: yunet\nok   embedder: mobilefacenet\n" in checked.stdout
    assert "ok   runtime in use against float32: largest difference 0.0e+00\n" in checked.stdout


@marked
def test_check_says_what_the_service_uses_not_what_the_settings_ask_for(
    run: RunCommand, embedded: Home
) -> None:
    """Stored faces keep their model until all have changed over."""
    checked = run("check", "--home", embedded.settings.home_dir, "--set", "encoder.embedder=dlib")

    assert (
        "ok   embedder: mobilefacenet; stored faces are changing over to dlib\n" in checked.stdout
    )


def test_check_names_a_model_that_was_lost(
    run: RunCommand, two_found: Home, tmp_path: Path
) -> None:
    """The user removed the file by hand; the other findings are there all the same."""
    home = copied(two_found, tmp_path)
    with closing(sqlite3.connect(home.settings.state_dir / "portraitd.sqlite3")) as database:
        database.execute("update faces set encoder = 'arcface-0123456789ab+mirror'")
        database.commit()

    checked = run("check", "--home", home.settings.home_dir)

    assert 1 == checked.returncode, checked.stderr
    assert "BAD  model of the stored faces: " in checked.stdout
    assert "whose SHA-256 begins with 0123456789ab" in checked.stdout
    assert "ok   database: intact\n" in checked.stdout
