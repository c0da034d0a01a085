"""Where settings come from, and what is said of wrong ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import ValidationError

from portraitd.clustering.grouping_methods import dbscan_rule
from portraitd.config import Section, Settings, load, nearest_setting
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
        ("pages.recordings=javascript:alert(1)", "give an address that starts with http://"),
        ("pages.recordings=../in box", "without spaces"),
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


# --- Paths belong to the home of the source that names them.


@pytest.fixture
def system_config(tmp_path: Path) -> Path:
    """The file of an installed service, as ``install-service --print`` prints it."""
    service = tmp_path / "srv"
    path = tmp_path / "etc.toml"
    path.write_text(
        f'home = "{service}"\n[paths]\ninbox = "{service}/inbox"\npeople = "{service}/people"\n'
        f'state = "{tmp_path}/lib"\n[metrics]\ntextfile = "{tmp_path}/m.prom"\n'
        "[grouping]\neps = 0.4\n"
    )
    return path


def places(found: Settings) -> set[Path]:
    return {found.home_dir, found.inbox_dir, found.people_dir, found.state_dir, found.dataset_dir}


@pytest.mark.parametrize("how", ["argument", "environment", "assignment", "named file"])
def test_another_home_shares_no_folder_with_the_installed_service(
    system_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The other settings of the file still apply."""
    other = tmp_path / "other"
    if how == "environment":
        monkeypatch.setenv("PORTRAITD_HOME", str(other))
    found = load(
        home=other if how in ("argument", "named file") else None,
        config=system_config if how == "named file" else None,
        assignments=[f"home={other}"] if how == "assignment" else [],
        system_config=system_config,
    )

    assert all(place.is_relative_to(other) for place in places(found))
    assert found.metrics.textfile is None
    assert 0.4 == found.grouping.eps
    assert system_config == found.config_file


@pytest.mark.parametrize("name", ["srv", "link"])
def test_the_home_of_the_service_keeps_its_folders(
    system_config: Path, tmp_path: Path, name: str
) -> None:
    """Also if it is named on the command line, through a link, too."""
    (tmp_path / "link").symlink_to(tmp_path / "srv")

    found = load(home=tmp_path / name, system_config=system_config)

    assert tmp_path / "lib" == found.state_dir
    assert tmp_path / "lib" == load(system_config=system_config).state_dir


def test_a_path_from_the_environment_belongs_to_the_home_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--home`` is more specific; without it, the variables apply together."""
    monkeypatch.setenv("PORTRAITD_HOME", str(tmp_path / "one"))
    monkeypatch.setenv("PORTRAITD_PATHS__STATE", "/var/lib/one")
    monkeypatch.setenv("PORTRAITD_PATHS__INBOX", "drop")

    assert Path("/var/lib/one") == load().state_dir
    assert tmp_path / "two" / "state" == load(home=tmp_path / "two").state_dir
    assert tmp_path / "two" / "drop" == load(home=tmp_path / "two").inbox_dir


def test_the_file_of_a_home_moves_its_own_folders(tmp_path: Path) -> None:
    """It is in that home, whatever it says the home is; so does a file that was named."""
    (tmp_path / "config.toml").write_text('home = "/elsewhere"\n[paths]\nstate = "/var/lib/h"\n')
    named = tmp_path / "named.toml"
    named.write_text('[paths]\nstate = "/var/lib/named"\n')

    assert Path("/var/lib/h") == load(home=tmp_path).state_dir
    assert Path("/var/lib/named") == load(home=tmp_path, config=named).state_dir


# --- Errors name the source, the key and what was probably meant.


@pytest.mark.parametrize(
    ("parts", "nearest"),
    [
        (("grouping", "epz"), "grouping.eps"),
        (("eps",), "grouping.eps"),
        (("review", "keep_days"), "privacy.keep_days"),
        (("groupings",), "grouping"),
        (("groupings", "eps"), "grouping.eps"),
        (("quite_s",), "inbox.quiet_s"),
        (("xyzzy",), ""),
    ],
)
def test_an_unknown_setting_comes_with_the_nearest_name(parts: Sequence[str], nearest: str) -> None:
    """In its section first, then anywhere."""
    assert nearest == nearest_setting(parts)


def test_a_wrong_value_comes_with_its_source(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, the variable, or the command line."""
    file.write_text("[grouping]\nepz = 0.4\n")
    monkeypatch.setenv("PORTRAITD_SAMPLING__FPS", "\u00b2")
    monkeypatch.setenv("PORTRAITD_GROUPNG__EPS", "1")

    with pytest.raises(ConfigError) as raised:
        load(config=file, assignments=["workers.count=\u0661", "home="])

    assert {
        f"{file}: grouping.epz: unknown setting; did you mean grouping.eps?",
        "variable PORTRAITD_SAMPLING__FPS: sampling.fps = '\u00b2': "
        "Input should be a valid number, unable to parse string as a number",
        "variable PORTRAITD_GROUPNG: groupng: unknown setting; did you mean grouping?",
        "command line: workers.count = '\u0661': "
        "Input should be a valid integer, unable to parse string as an integer",
        "command line: home = '': a path must not be empty",
    } == set(str(raised.value).splitlines())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe[\x00g\x00", "not UTF-8 (byte 1)"),
        (b"x = " + b"[" * 5000, "nested too deeply"),
        (b"x = " + b"1" * 5000, "digits"),
        (b"#" * (1 << 21), "larger than a settings file"),
        (b'home = "a\\u0000b"', "a path cannot contain a NUL character"),
        (b'home = "~no-such-user/p"', "home directory is unknown"),
    ],
)
def test_a_file_that_nobody_meant_is_an_error_on_one_line(
    file: Path, content: bytes, said: str
) -> None:
    """Whatever it holds."""
    file.write_bytes(content)

    with pytest.raises(ConfigError) as raised:
        load(config=file)

    assert said in str(raised.value)
    assert str(raised.value).startswith(f"{file}: ")
    assert 1 == len(str(raised.value).splitlines())


def test_a_byte_order_mark_is_skipped(file: Path) -> None:
    """Notepad writes one."""
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    assert 0.4 == load(config=file).grouping.eps


def test_a_path_may_have_bytes_that_are_not_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the environment as on the command line."""
    monkeypatch.setenv("PORTRAITD_HOME", f"{tmp_path}/caf\udce9")

    assert Path(f"{tmp_path}/caf\udce9") == load().home_dir


# --- Numbers.


def numbers(section: type[Section], above: str = "") -> Iterator[str]:
    """Yield the key of every numeric setting."""
    for name, field in section.model_fields.items():
        if isinstance(field.default, Section):
            yield from numbers(type(field.default), f"{above}{name}.")
            continue
        kind, item = field.annotation, ""
        if get_origin(kind) is dict:
            kind, item = get_args(kind)[1], ".x"
        options = {kind, *get_args(kind)}
        options |= {get_args(one)[0] for one in options if get_origin(one) is Annotated}
        if options & {int, float}:
            yield f"{above}{name}{item}"


NUMBERS = list(numbers(Settings))


def test_all_numbers_are_known() -> None:
    """The walk below finds every one."""
    assert 33 <= len(NUMBERS)
    assert {"review.unsorted_portraits", "grouping.eps", "priorities.x"} <= set(NUMBERS)


@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_has_a_limit_above_and_is_finite(key: str) -> None:
    """A typing error must not ask for more than SQLite, the kernel or the disk can hold."""
    for value in (10**20, -(10**20), 1e300, math.inf, -math.inf, math.nan, "1e400", "²"):
        tree: Any = value
        for part in reversed(key.split(".")):
            tree = {part: tree}
        with pytest.raises(ValidationError):
            Settings.model_validate(tree)


def test_a_config_beside_that_is_not_a_file_is_an_error(tmp_path: Path) -> None:
    """As a link to a share that is not mounted: the defaults are other folders."""
    beside = tmp_path / "config.toml"
    for target in (tmp_path / "share" / "config.toml", beside, tmp_path):
        beside.symlink_to(target)
        with pytest.raises(ConfigError, match=r"config\.toml: not a file, or a link to nothing"):
            load(tmp_path)
        beside.unlink()

    assert tmp_path == load(tmp_path).home_dir
