"""Names beside the recordings of the inbox: written, read back by exiftool, merged and taken out.

Real faces, real files, the whole service; only the hands are the test's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from portraitd.media.face_regions import FaceRegion
from portraitd.media.jpeg import encode_jpeg
from portraitd.model.errors import FoldersUnavailable
from portraitd.model.face import Box
from portraitd.model.reasons import ReasonCode
from portraitd.people.sidecars.sidecar_stage import REPEAT_S
from portraitd.store.erasure.eraser import Eraser
from support.home import Home, assert_sound, connect, full_table
from support.media import as_jpeg
from support.permissions import permissions_count
from support.reviews import ANN, copied, folders
from support.tags import needs_exiftool, write_tags

pytestmark = needs_exiftool

PHOTO = "trip/photo.jpg"
XMP = {"sidecars": ["xmp"]}


def exif(path: Path) -> dict[str, Any]:
    """What exiftool reads."""
    command = ["exiftool", "-json", "-struct", "-n", path]
    found = subprocess.run(command, check=True, capture_output=True)
    facts: dict[str, Any] = json.loads(found.stdout)[0]
    return facts


def regions(path: Path) -> dict[str, tuple[float, ...]]:
    """Centre and size of each region by name."""
    listed = exif(path)["RegionInfo"]["RegionList"]
    return {one["Name"]: tuple(one["Area"][side] for side in "XYWH") for one in listed}


@pytest.fixture(scope="module")
def with_photo(tmp_path_factory: pytest.TempPathFactory, photographs: list[Path]) -> Home:
    """Ada is known by a picture, and one photo shows her. Only copies of it are changed."""
    home = Home(tmp_path_factory.mktemp("sidecars") / "home", grouping={"method": "people"})
    (home.people / "Ada").mkdir()
    (home.people / "Ada" / "ref.jpg").write_bytes(as_jpeg(photographs[0]))
    home.drop(as_jpeg(photographs[0]), PHOTO)
    home.run()
    assert {"Ada": 1} == folders(home)
    return home


@pytest.fixture(scope="module")
def named_photo(with_photo: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The same with a sidecar."""
    return copied(with_photo, tmp_path_factory.mktemp("named"), review=XMP)


@pytest.fixture
def home(named_photo: Home, tmp_path: Path) -> Home:
    """To be changed; it is not run yet."""
    shutil.copytree(named_photo.settings.home_dir, tmp_path / "home")
    return Home(tmp_path / "home", grouping={"method": "people"}, review=XMP)


def seen_face(home: Home, path: str = PHOTO) -> FaceRegion:
    """The face in a photo, in the upright picture."""
    with closing(connect(home.settings.state_dir)) as connection:
        row = connection.execute(
            """
            select faces.*, width_px, height_px from faces
                join videos on videos.id = faces.video_id join files on files.video_id = videos.id
            where path = ? and person_id is not null
            """,
            (path.encode(),),
        ).fetchone()
    box = Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])
    return FaceRegion.of("Ada", box, row["width_px"], row["height_px"])


def notices(home: Home) -> dict[str, str]:
    with closing(connect(home.settings.state_dir)) as connection:
        return dict(connection.execute("select location, code from review_notices").fetchall())


def test_a_photo_gets_a_sidecar(with_photo: Home, home: Home) -> None:
    """As digiKam and Immich read it; the photo stays as it is, and is not processed again."""
    # A copy of a home has new files.
    home.run()
    sidecar = home.inbox / f"{PHOTO}.xmp"
    stamp, before = sidecar.stat(), home.rows("file_steps")
    assert stamp.st_mode == (home.inbox / PHOTO).stat().st_mode

    facts = exif(sidecar)
    assert ["Ada"] == facts["Subject"] == facts["PersonInImage"]
    assert ["People/Ada"] == facts["TagsList"]
    size = facts["RegionInfo"]["AppliedToDimensions"]
    video = next(row for row in home.rows("videos") if not row["is_reference"])
    assert (size["W"], size["H"]) == (video["width_px"], video["height_px"])
    assert pytest.approx(seen_face(home).area, abs=1e-5) == regions(sidecar)["Ada"]
    assert (with_photo.inbox / PHOTO).read_bytes() == (home.inbox / PHOTO).read_bytes()
    assert {PHOTO: "done", "Ada/ref.jpg": "done"} == home.states()

    home.run()
    assert (stamp.st_ino, stamp.st_mtime_ns) == (sidecar.stat().st_ino, sidecar.stat().st_mtime_ns)
    assert before == home.rows("file_steps")
    assert_sound(home.settings)


def test_it_is_recorded_once_the_store_can_be_written_again(
    with_photo: Home, tmp_path: Path
) -> None:
    """Within seconds; it does not wait until all are compared anyway."""
    shutil.copytree(with_photo.settings.home_dir, tmp_path / "home")
    home = Home(tmp_path / "home", grouping={"method": "people"}, review=XMP)
    with home.opened() as service:
        with full_table(service.database, "sidecars"):
            home.tick_until(service, lambda: bool(service.blocked))
        home.run_until_idle(service)

    assert ["Ada"] == exif(home.inbox / f"{PHOTO}.xmp")["Subject"]
    with closing(connect(home.settings.state_dir)) as connection:
        assert 1 == connection.execute("select count(*) from sidecars").fetchone()[0]


def test_it_follows_the_people_and_goes_with_the_setting(home: Home) -> None:
    """What another program added meanwhile stays."""
    sidecar = home.inbox / f"{PHOTO}.xmp"
    (home.people / "Ada").rename(home.people / "Eve")
    home.run()
    assert ["Eve"] == exif(sidecar)["Subject"] == list(regions(sidecar))

    other = home.drop((home.inbox / PHOTO).read_bytes(), "copy.jpg")
    home.run()
    assert ["Eve"] == exif(other.with_name("copy.jpg.xmp"))["Subject"]

    write_tags(sidecar, "-XMP:Rating=4")
    home = Home(home.settings.home_dir, grouping={"method": "people"})
    home.run()
    assert not other.with_name("copy.jpg.xmp").exists()
    assert 4 == exif(sidecar)["Rating"]
    assert b"Eve" not in sidecar.read_bytes()
    assert [] == sidecars(home)


def sidecars(home: Home) -> list[str]:
    """The sidecars that portraitd has written to."""
    with closing(connect(home.settings.state_dir)) as connection:
        return [row[0].decode() for row in connection.execute("select path from sidecars")]


def test_regions_are_of_the_picture_as_it_is_stored(home: Home, photographs: list[Path]) -> None:
    """A phone stores it turned and says so in EXIF; a program turns both together."""
    picture = cv2.imdecode(np.frombuffer(as_jpeg(photographs[0]), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    turned = cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE)
    photo = home.drop(encode_jpeg(turned, 95), "turned.jpg")
    write_tags(photo, "-n", "-Orientation=6")
    home.run()

    sidecar = home.inbox / "turned.jpg.xmp"
    size = exif(sidecar)["RegionInfo"]["AppliedToDimensions"]
    assert (turned.shape[1], turned.shape[0]) == (size["W"], size["H"])
    region = FaceRegion("Ada", *regions(sidecar)["Ada"]).turned(6)
    assert pytest.approx(seen_face(home, "turned.jpg").area, abs=1e-5) == region.area


def test_a_sidecar_of_another_program_is_merged(home: Home) -> None:
    """Under the name that it has; a region that a person named stays, and so do their words."""
    x, y, w, h = seen_face(home).area
    area = f"{{X={x},Y={y},W={w * 1.2},H={h},Unit=normalized}}"
    for name in ("lightroom.jpg", "digikam.jpg", "broken.jpg"):
        home.drop((home.inbox / PHOTO).read_bytes(), name)
    lightroom = home.inbox / "lightroom.xmp"
    write_tags(lightroom, "-XMP:Title=Launch", "-XMP-dc:Subject=space")
    digikam = home.inbox / "digikam.jpg.xmp"
    write_tags(
        digikam,
        f"-XMP-mwg-rs:RegionInfo={{RegionList=[{{Name=Eileen,Type=Face,Area={area}}}]}}",
    )
    before = digikam.read_bytes()
    broken = home.drop(b"<!DOCTYPE x><x/>", "broken.jpg.xmp")
    outside = home.settings.home_dir / "outside"
    outside.write_bytes(b"")
    home.drop((home.inbox / PHOTO).read_bytes(), "link.jpg")
    (home.inbox / "link.jpg.xmp").symlink_to(outside)
    home.run()

    facts = exif(lightroom)
    assert "Launch" == facts["Title"]
    assert ["space", "Ada"] == facts["Subject"]
    assert not (home.inbox / "lightroom.jpg.xmp").exists()
    assert before == digikam.read_bytes()
    assert b"<!DOCTYPE x><x/>" == broken.read_bytes()
    assert b"" == outside.read_bytes()
    assert {
        "broken.jpg.xmp": ReasonCode.SIDECAR_LEFT_ALONE,
        "link.jpg.xmp": ReasonCode.SIDECAR_LEFT_ALONE,
    } == notices(home)


def test_an_inbox_that_cannot_be_written_is_said(home: Home) -> None:
    """Everything else goes on; later it is tried again."""
    folder = home.inbox / "trip"
    (home.people / "Ada").rename(home.people / "Eve")
    folder.chmod(0o555)
    with home.opened() as service:
        with permissions_count():
            home.run_until_idle(service)
        assert {"Eve": 1} == folders(home)
        assert {"trip": ReasonCode.SIDECAR_NOT_WRITTEN} == notices(home)
        assert ["Ada"] == exif(home.inbox / f"{PHOTO}.xmp")["Subject"]

        folder.chmod(0o755)
        home.steady_s += REPEAT_S
        home.run_until_idle(service)
    assert {} == notices(home)
    assert ["Eve"] == exif(home.inbox / f"{PHOTO}.xmp")["Subject"]


def test_the_folder_under_a_missing_share_is_left_alone(home: Home) -> None:
    """What was written on the share is neither forgotten nor written elsewhere."""
    share = home.settings.home_dir / "share"
    home.inbox.rename(share)
    home.inbox.mkdir()
    (home.people / "Ada").rename(home.people / "Eve")
    with home.opened() as service:
        for _ in range(20):
            home.tick(service)
        assert {"Eve": 1} == folders(home)
        assert not service.sidecars.pending
    assert [] == list(home.inbox.iterdir())

    home.inbox.rmdir()
    share.rename(home.inbox)
    home.run()
    assert ["Eve"] == exif(home.inbox / f"{PHOTO}.xmp")["Subject"]


def test_who_is_forgotten_is_named_no_more(home: Home) -> None:
    """Before `forget` is done, and in a file that another program has arranged since."""
    sidecar = home.inbox / f"{PHOTO}.xmp"
    write_tags(sidecar, "-XMP:Rating=4")
    with home.opened() as service:
        eraser = Eraser(service.database)
        marker = home.inbox / ".portraitd-inbox"
        text = marker.read_bytes()
        marker.unlink()
        service.erasure.erase(eraser.person("Ada"), home.now.wall_s)
        with pytest.raises(FoldersUnavailable, match="not mounted"):
            service.erasure.finish(home.now.wall_s)
        assert eraser.pending

        marker.write_bytes(text)
        service.erasure.finish(home.now.wall_s)
        assert not eraser.pending
    assert b"Ada" not in sidecar.read_bytes()
    assert 4 == exif(sidecar)["Rating"]
    home.run()
    assert b"Ada" not in sidecar.read_bytes()


def test_the_people_of_a_video_are_its_actors(two_found: Home, tmp_path: Path) -> None:
    """And a file that a media server wrote keeps what is in it."""
    home = copied(two_found, tmp_path, review={"sidecars": ["nfo"]})
    nfo = home.inbox / "clip.nfo"
    assert not nfo.exists()
    nfo.write_text("<movie><title>Clip</title></movie>")
    (home.people / ANN).rename(home.people / "Ann")
    home.run()

    root = ET.fromstring(nfo.read_bytes())
    assert ["Ann"] == [actor.findtext("name") for actor in root.findall("actor")]
    assert "Clip" == root.findtext("title")
