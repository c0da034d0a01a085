"""What every worker may read, and that the home is never part of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import portraitd
from portraitd.workers.sandbox.library_paths import list_library_paths
from support.home import Home

TESTS = Path(__file__).parents[1]

PROBE = """
import json, sys
from pathlib import Path

from portraitd.config import load
from portraitd.service.pools import worker_limits, decoding_policy, list_hidden_folders
from portraitd.workers.pool import LocalExecutor
from support import sandbox_jobs

if __name__ == "__main__":
    settings = load(home=Path(sys.argv[1]))
    policy = decoding_policy(None, list_hidden_folders(settings))
    executor = LocalExecutor(1, worker_limits(settings), policy)
    print(json.dumps(executor.submit(sandbox_jobs.try_to_read, sys.argv[2:]).result()))
    executor.shutdown()
"""


def test_a_home_is_not_read_because_the_program_was_started_in_it(tmp_path: Path) -> None:
    """With ``python -m`` from within it, and with it and the folders around on the module path."""
    home = Home(tmp_path / "home")
    home.drop(b"a video", "clip.mp4")
    secrets = [home.settings.home_dir / name for name in ("state/portraitd.sqlite3", "config.toml")]
    for secret in secrets:
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text("")
    (home.settings.home_dir / "probe.py").write_text(PROBE)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "module.py").touch()
    paths = [
        *secrets,
        home.settings.inbox_dir / "clip.mp4",
        home.settings.home_dir,
        home.settings.state_dir,
        home.settings.inbox_dir,
        tmp_path,
    ]
    places = [home.settings.home_dir, home.settings.state_dir, tmp_path, TESTS, *sys.path]
    library = tmp_path / "library" / "module.py"

    answer = subprocess.run(
        [sys.executable, "-m", "probe", home.settings.home_dir, *paths, library],
        cwd=home.settings.home_dir,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(answer.stdout)
    assert dict.fromkeys(map(str, paths), "EACCES") | {str(library): "done"} == found


def test_an_environment_inside_a_home_is_still_read() -> None:
    """Only its packages: nothing else is in those folders."""
    prefix, packages = Path(sys.prefix), Path(sysconfig.get_path("purelib"))

    found = list_library_paths([prefix])

    assert packages in found
    assert [] == [path for path in found if prefix.is_relative_to(path)]
    assert prefix / "bin" not in found


def test_a_home_inside_a_system_folder_is_left_out() -> None:
    """Everything around it is read."""
    doc = Path("/usr/share/doc")

    found = list_library_paths([doc])

    assert Path("/usr/lib") in found
    assert [] == [path for path in found if doc.is_relative_to(path) or path.is_relative_to(doc)]
    assert Path("/usr") in list_library_paths()


def test_a_link_to_a_home_is_no_way_into_it(tmp_path: Path) -> None:
    """Paths are compared by what they lead to."""
    (tmp_path / "home").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "home")
    sys.path.append(str(link))
    try:
        assert link not in list_library_paths([tmp_path / "home"])
        assert link in list_library_paths()
    finally:
        sys.path.remove(str(link))


def test_our_own_modules_are_read() -> None:
    """Also where they are imported from a checkout."""
    assert Path(portraitd.__file__).resolve().parent in list_library_paths()
