"""Known people over a network share: a real Samba server, a real client, the whole service."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.home import Home
from support.media import as_jpeg
from support.reviews import folders, ledger, represented
from support.samba import MISSING, shared

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


def test_known_people_over_the_share(
    tmp_path: Path, photographs: list[Path], two_people: Path
) -> None:
    """A reviewer says who a person is, corrects it and asks, all without a terminal."""
    home = Home(tmp_path / "home", grouping={"method": "people"})
    home.run()
    for number, photograph in enumerate(photographs, 1):
        (tmp_path / f"{number}.jpg").write_bytes(as_jpeg(photograph))
    one, other = tmp_path / "1.jpg", tmp_path / "2.jpg"
    own = tmp_path / "samba"
    own.mkdir()
    with shared(home.people, own) as share:
        share.do('mkdir "Ada L"', rf'put "{one}" "Ada L\ref.jpg"', "mkdir _who")
        home.run()
        assert ["Ada L"] == represented(home)

        share.do('rename "Ada L" "Ada"', rf'put "{other}" "_who\asked.jpg"')
        home.drop(two_people, "clip.mp4")
        home.run()
        assert {"Ada"} < set(folders(home))
        assert "Face 1: " in (home.people / "_who" / "asked.jpg.txt").read_text()

        share.do(rf'put "{other}" "Ada\ref.jpg"')
        home.run()
        assert [None, "Ada"] == represented(home)

        share.do(r'del "Ada\ref.jpg"', r'del "_who\asked.jpg"')
        home.run()
        assert [None, None] == represented(home)
        assert [] == list((home.people / "_who").glob("*.txt"))
    assert ["reference", "name"] == ledger(home)[:2]
