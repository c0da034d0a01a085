"""Where settings come from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from portraitd.clustering.grouping_methods import dbscan_rule
from portraitd.config import load
from portraitd.model.errors import ConfigError
from portraitd.model.grouping_rules import DbscanRule
from support.embedding_rules import DLIB_RULES


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, and a home folder without a config file."""
    import os

    for name in os.environ:
        if name.startswith("PORTRAITD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text("[grouping]\neps = 0.4\nmin_samples = 4\n[sampling]\nfps = 4\n")
    return path


def test_without_anything_the_defaults_are_in_force() -> None:
    """Those of the original pipeline, where it had them."""
    found = load()

    original = load(assignments=["grouping.method=dbscan"])
    assert DbscanRule(0.36, 3) == dbscan_rule(found.grouping, DLIB_RULES)
    assert DbscanRule(0.5, 5) == dbscan_rule(original.grouping, DLIB_RULES)
    assert (700, 500) == (found.detection.max_width, found.detection.max_height)
    assert 1.0 == found.sampling.fps


def test_the_command_line_beats_the_environment_beats_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key by key, not table by table."""
    monkeypatch.setenv("PORTRAITD_GROUPING__EPS", "0.3")
    monkeypatch.setenv("PORTRAITD_SAMPLING__FPS", "3")

    found = load(config=file, assignments=["sampling.fps=2"])

    assert 2.0 == found.sampling.fps
    assert 0.3 == found.grouping.eps
    assert 4 == found.grouping.min_samples
    assert 700 == found.detection.max_width


def test_the_later_assignment_wins() -> None:
    """As the shell's aliases do."""
    assert 0.2 == load(assignments=["grouping.eps=0.1", "grouping.eps=0.2"]).grouping.eps


def test_a_home_brings_its_own_file(tmp_path: Path, file: Path) -> None:
    """Unless another one was named."""
    other = tmp_path / "other.toml"
    other.write_text("[grouping]\neps = 0.7\n")

    assert 0.4 == load(home=tmp_path).grouping.eps
    assert 0.7 == load(home=tmp_path, config=other).grouping.eps


def test_the_file_of_the_default_home_is_read(tmp_path: Path) -> None:
    """Without --home the home is ~/portraits, and its config file applies."""
    home = tmp_path / "nobody" / "portraits"
    home.mkdir(parents=True)
    (home / "config.toml").write_text("[grouping]\neps = 0.4\n")

    found = load()

    assert home == found.home_dir
    assert 0.4 == found.grouping.eps


@pytest.mark.parametrize("how", ["argument", "environment", "assignment"])
def test_the_home_may_come_from_anywhere(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """And its file with it."""
    if how == "environment":
        monkeypatch.setenv("PORTRAITD_HOME", str(tmp_path))
    assignments = [f"home={tmp_path}"] if how == "assignment" else []

    found = load(home=tmp_path if how == "argument" else None, assignments=assignments)

    assert tmp_path == found.home_dir
    assert 0.4 == found.grouping.eps


def test_the_argument_beats_the_file_about_the_home(tmp_path: Path) -> None:
    """A file may name a home for those who give none."""
    file = tmp_path / "config.toml"
    file.write_text(f'home = "{tmp_path}/from-file"\n')

    assert tmp_path / "from-file" == load(config=file).home_dir
    assert tmp_path / "given" == load(home=tmp_path / "given", config=file).home_dir


def test_folders_lie_below_the_home_unless_set_apart(tmp_path: Path) -> None:
    """Each by itself; a relative one is below the home too."""
    found = load(home=tmp_path, assignments=["paths.state=/var/lib/p", "paths.inbox=drop"])

    assert tmp_path / "drop" == found.inbox_dir
    assert tmp_path / "people" == found.people_dir
    assert Path("/var/lib/p") == found.state_dir


def test_a_tilde_is_somebodys_home_folder(tmp_path: Path) -> None:
    """In the home and in each path."""
    found = load(home=Path("~/p"), assignments=["paths.state=~/s"])

    assert tmp_path / "nobody" / "p" == found.home_dir
    assert tmp_path / "nobody" / "s" == found.state_dir


@pytest.mark.parametrize(
    ("text", "expected"),
    [("events", "events"), ('"events"', "events"), (" events ", "events")],
)
def test_an_assigned_text_needs_no_quotes(text: str, expected: str) -> None:
    """The shell has taken them away."""
    assert expected == load(assignments=[f"inbox.watch={text}"]).inbox.watch


def test_an_assigned_truth_is_toml() -> None:
    """As in the file."""
    assert not load(assignments=["encoder.mirror=false"]).encoder.mirror


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("grouping.epz=1", "grouping.epz: unknown setting"),
        ("no.such=1", "no: unknown setting"),
        ("grouping.eps=0", "grouping.eps = 0"),
        ("workers.count=-1", "workers.count = -1"),
        ("workers.count=many", "workers.count = 'many'"),
        ("inbox.watch=sometimes", "inbox.watch = 'sometimes'"),
        ("inbox.watch.deep=1", "inbox.watch"),
        ("grouping=5", "grouping = 5"),
        ("eps", "--set eps: write section.key=value"),
        ("=5", "--set =5: write section.key=value"),
        (".eps=5", "--set .eps=5: write section.key=value"),
        ("home=5", "home = 5"),
        ("home=[1]", "home = [1]"),
    ],
)
def test_a_wrong_assignment_says_which_key(assignment: str, said: str) -> None:
    """What was given, and what is wrong with it."""
    with pytest.raises(ConfigError) as raised:
        load(assignments=[assignment])

    assert said in str(raised.value)


def test_every_wrong_key_has_its_line() -> None:
    """All at once, not one after the other."""
    with pytest.raises(ConfigError) as raised:
        load(assignments=["grouping.epz=1", "sampling.fps=0"])

    assert 2 == len(str(raised.value).splitlines())


def test_a_variable_may_hold_a_list_or_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON; a variable for a single key wins over one for its table."""
    monkeypatch.setenv("PORTRAITD_DATASET__FORMATS", '["coco"]')
    monkeypatch.setenv("PORTRAITD_PRIORITIES", '{"Holidays/2026": 5}')
    monkeypatch.setenv("PORTRAITD_GROUPING", '{"eps": 0.3, "min_samples": 7}')
    monkeypatch.setenv("PORTRAITD_GROUPING__EPS", "0.2")

    found = load()

    assert ("coco",) == tuple(found.dataset.formats)
    assert {"Holidays/2026": 5} == found.priorities
    assert (0.2, 7) == (found.grouping.eps, found.grouping.min_samples)


@pytest.mark.parametrize(
    "name", ["PORTRAITD_WORKER_DIR", "PORTRAITDGROUPING__EPS", "GROUPING__EPS"]
)
def test_a_variable_for_something_else_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The remote worker has one of its own."""
    monkeypatch.setenv(name, "0.2")

    assert load(assignments=["grouping.eps=0.3"]).grouping.eps == 0.3


@pytest.mark.parametrize("variable", ["PORTRAITD_GROUPING__EPZ", "PORTRAITD_GROUPING__EPS"])
def test_a_wrong_variable_is_an_error(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Not a silent default."""
    monkeypatch.setenv(variable, "big")

    with pytest.raises(ConfigError, match="grouping"):
        load()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[grouping\n", "config.toml"),
        (b"\xff\xfe", "config.toml"),
        (b"[grouping]\nepz = 1\n", "grouping.epz: unknown setting"),
        (b"grouping = 3\n", "grouping = 3"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, content: bytes, said: str) -> None:
    """The file where it is no TOML, else the key."""
    file = tmp_path / "config.toml"
    file.write_bytes(content)

    with pytest.raises(ConfigError) as raised:
        load(config=file)

    assert said in str(raised.value)


def test_a_missing_file_is_an_error_only_if_it_was_named(tmp_path: Path) -> None:
    """Nobody has to have one."""
    with pytest.raises(ConfigError, match=r"none.toml: no such settings file"):
        load(config=tmp_path / "none.toml")

    assert tmp_path == load(home=tmp_path).home_dir


def test_settings_do_not_change() -> None:
    """They are handed to many rooms."""
    with pytest.raises(ValueError, match="frozen"):
        load().grouping.eps = 1.0  # type: ignore[misc]


def test_the_number_of_workers_is_that_of_the_cores_unless_set() -> None:
    """Of those this process may use."""
    import os

    assert len(os.sched_getaffinity(0)) == load().workers.processes
    assert 3 == load(assignments=["workers.count=3"]).workers.processes
