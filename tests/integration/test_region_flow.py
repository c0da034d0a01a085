"""Names that other programs wrote around faces in photos say who a person is.

Real faces, real files, the whole service, and exiftool as the other program.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.media.face_regions import FaceRegion
from portraitd.media.jpeg import encode_jpeg
from portraitd.model.face import Box
from portraitd.model.reasons import ReasonCode
from support.home import Home, assert_sound, connect, full_table
from support.media import as_jpeg
from support.reviews import ANN, BOB, faces, folders, ledger, move, portraits
from support.tags import needs_exiftool, write_tags

pytestmark = needs_exiftool

PHOTO = "photo.jpg"
READS = {"read_names": True}


@pytest.fixture(scope="module")
def with_photo(tmp_path_factory: pytest.TempPathFactory, photographs: list[Path]) -> Home:
    """One photo of a person who is not known. Only copies of it are changed."""
    home = Home(tmp_path_factory.mktemp("regions") / "home", grouping={"method": "people"})
    home.drop(as_jpeg(photographs[0]), PHOTO)
    home.run()
    assert {} == folders(home)
    return home


@pytest.fixture
def home(with_photo: Home, tmp_path: Path) -> Home:
    """To be changed; it is not run yet."""
    shutil.copytree(with_photo.settings.home_dir, tmp_path / "home")
    return reopened(tmp_path / "home")


def reopened(folder: Path, **review: object) -> Home:
    return Home(
        folder, grouping={"method": "people"}, inbox={"quiet_s": 2.0, **READS}, review=review
    )


@pytest.fixture(scope="module")
def face(with_photo: Home) -> FaceRegion:
    """The face in the photo."""
    with closing(connect(with_photo.settings.state_dir)) as connection:
        row = connection.execute(
            "select * from faces join videos on videos.id = faces.video_id"
        ).fetchone()
    box = Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])
    return FaceRegion.of("Ada", box, row["width_px"], row["height_px"])


def mwg(*named: FaceRegion) -> str:
    """What exiftool is told to write."""
    regions = ",".join(
        f"{{Name={one.name},Type=Face,"
        f"Area={{X={one.x},Y={one.y},W={one.w},H={one.h},Unit=normalized}}}}"
        for one in named
    )
    return f"-XMP-mwg-rs:RegionInfo={{RegionList=[{regions}]}}"


def notices(home: Home) -> set[tuple[str, str]]:
    with closing(connect(home.settings.state_dir)) as connection:
        rows = connection.execute("select location, code from review_notices").fetchall()
    return {(row["location"], row["code"]) for row in rows}


def test_a_named_region_says_who_is_seen(home: Home, face: FaceRegion, two_people: Path) -> None:
    """From then on they are known; the photo is shown like any other, and is never written."""
    photo = write_tags(home.inbox / PHOTO, mwg(face))
    before = photo.read_bytes()
    home.run()
    assert {"Ada": 1} == folders(home)
    assert ["region"] == ledger(home)

    home.drop(two_people, "clip.mp4")
    home.run()
    assert {"Ada", BOB} == set(folders(home))
    assert folders(home)["Ada"] == faces(home)[1] > 5
    assert ["region"] == ledger(home)
    assert before == photo.read_bytes()
    assert set() == notices(home)
    assert_sound(home.settings)


def test_it_is_recorded_once_the_store_can_be_written_again(home: Home, face: FaceRegion) -> None:
    """The names that were read are not lost with the attempt."""
    write_tags(home.inbox / PHOTO, mwg(face))
    with home.opened() as service:
        with full_table(service.database, "ledger"):
            home.tick_until(service, lambda: bool(service.blocked))
        home.run_until_idle(service)

    assert {"Ada": 1} == folders(home)
    assert ["region"] == ledger(home)


def test_a_reviewer_counts_more_and_what_was_undone_stays_so(home: Home, face: FaceRegion) -> None:
    """Whatever else is written into the photo; another name is another word."""
    photo = write_tags(home.inbox / PHOTO, mwg(face))
    home.run()
    with home.opened() as service:
        service.review.undo(None, home.now.wall_s)
        home.run_until_idle(service)
    write_tags(photo, "-XMP:Rating=4")
    home.run()
    assert {} == folders(home)
    assert ["region", "undo"] == ledger(home)

    write_tags(photo, mwg(FaceRegion("Eve", *face.area)))
    home.run()
    assert {"Eve": 1} == folders(home)

    (picture,) = portraits(home, "Eve")
    move(picture, home.people / "Mae")
    home.run()
    write_tags(photo, mwg(face))
    home.run()
    assert {"Mae": 1} == folders(home)


def test_regions_of_a_turned_photo_and_of_a_sidecar_are_read(
    home: Home, face: FaceRegion, photographs: list[Path]
) -> None:
    """As Microsoft writes them; they are of the picture as it is stored."""
    picture = cv2.imdecode(np.frombuffer(as_jpeg(photographs[0]), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    turned = encode_jpeg(cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE), 95)
    write_tags(home.drop(turned, "turned.jpg"), "-n", "-Orientation=6")
    stored = face.turned_back(6)
    rectangle = f"{stored.x - stored.w / 2}|, {stored.y - stored.h / 2}|, {stored.w}|, {stored.h}"
    region = f"{{PersonDisplayName=Ada,Rectangle={rectangle}}}"
    write_tags(home.inbox / "turned.jpg.xmp", f"-XMP-MP:RegionInfoMP={{Regions=[{region}]}}")
    home.run()

    # Then she is recognised in the other photo, too.
    assert {"Ada": 2} == folders(home)
    assert ["region"] == ledger(home)


def test_what_is_not_clear_is_said(home: Home, face: FaceRegion) -> None:
    """And without the setting, no name is read."""
    folder = home.settings.home_dir
    tagged = (home.inbox / PHOTO).read_bytes()
    aside = FaceRegion("Eve", 0.9, 0.9, 0.05, 0.05)
    for name, regions in {
        "aside.jpg": [aside],
        "two.jpg": [face, FaceRegion("Eve", *face.area)],
        "number.jpg": [FaceRegion("person-0001", *face.area)],
    }.items():
        write_tags(home.drop(tagged, name), mwg(*regions))
    Home(folder, grouping={"method": "people"}).run()
    assert set() == notices(home)

    home.run()
    assert [] == ledger(home)
    assert {
        ("aside.jpg", ReasonCode.REGION_WITHOUT_FACE),
        ("two.jpg", ReasonCode.REGION_OF_SEVERAL),
        ("number.jpg", ReasonCode.REGION_NAME_UNUSABLE),
    } == notices(home)


def test_what_portraitd_wrote_itself_says_nothing(
    two_found: Home, photographs: list[Path], tmp_path: Path
) -> None:
    """A sidecar names whom the grouping found; no reviewer said so."""
    shutil.copytree(two_found.settings.home_dir, tmp_path / "home")
    home = reopened(tmp_path / "home", sidecars=["xmp"])
    photo = home.drop(as_jpeg(photographs[0]), PHOTO)
    home.run()
    (home.people / ANN).rename(home.people / "Ann")
    home.run()
    assert b"Ann" in (home.inbox / f"{PHOTO}.xmp").read_bytes()

    write_tags(photo, "-XMP:Rating=4")
    home.run()
    assert ["name"] == ledger(home)
