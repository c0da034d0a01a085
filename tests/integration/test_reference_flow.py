"""A picture of the reviewer's own says who somebody is, before or after the person is seen.

Real faces, real files, the whole service; only the hands are the test's.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from portraitd.media.jpeg import encode_jpeg
from portraitd.model.errors import ConfigError
from portraitd.model.reasons import ReasonCode
from portraitd.store.erasure.eraser import Eraser
from portraitd.store.people import People
from support.home import Home, assert_sound, connect
from support.media import as_jpeg, without_face
from support.reviews import ANN, BOB, copied, faces, folders, ledger, represented

REF = "ref.jpg"


@pytest.fixture(scope="module")
def ada_known(tmp_path_factory: pytest.TempPathFactory, photographs: list[Path]) -> Home:
    """Nothing was dropped; one person is known by a picture. Only copies of it are changed."""
    home = Home(tmp_path_factory.mktemp("known") / "home", grouping={"method": "people"})
    show(home, "Ada", as_jpeg(photographs[0]))
    home.run()
    return home


@pytest.fixture
def home(ada_known: Home, tmp_path: Path) -> Home:
    """To be changed."""
    return copied(ada_known, tmp_path)


@pytest.fixture
def seen_home(two_found: Home, tmp_path: Path) -> Home:
    """Two people of a clip, each with a folder; to be changed."""
    return copied(two_found, tmp_path)


def show(home: Home, name: str, picture: bytes, file_name: str = REF) -> Path:
    """Put a picture of somebody into a folder with their name."""
    path = home.people / name / file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
    return path


def notices(home: Home) -> dict[str, str]:
    """The notices about pictures, by location."""
    with closing(connect(home.settings.state_dir)) as connection:
        return dict(connection.execute("select location, code from review_notices").fetchall())


def beside(one: bytes, other: bytes, times: float = 1.0) -> bytes:
    """A picture with two faces; the first one is this many times smaller than it was."""
    left, right = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in (one, other)
    )
    assert left is not None
    assert right is not None
    left = cv2.resize(left, None, fx=1 / times, fy=1 / times, interpolation=cv2.INTER_AREA)
    canvas = np.zeros(
        (max(left.shape[0], right.shape[0]), left.shape[1] + right.shape[1], 3), np.uint8
    )
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], left.shape[1] :] = right
    return encode_jpeg(canvas, 95)


def test_a_known_person_is_recognised_when_they_are_seen(home: Home, two_people: Path) -> None:
    """Their folder is the one that the reviewer made, and the picture in it stays as it was."""
    picture = home.people / "Ada" / REF
    before = picture.read_bytes(), picture.stat()
    assert ["reference"] == ledger(home)
    assert ["Ada"] == represented(home)
    assert {} == folders(home)
    assert {"Ada"} == {one.name for one in home.people.iterdir() if "A" in one.name[:1]}

    home.drop(two_people, "clip.mp4")
    home.run()

    assert {"Ada", BOB} == set(folders(home))
    assert faces(home)[1] == folders(home)["Ada"] + 1
    assert before == (picture.read_bytes(), picture.stat())
    assert ["reference"] == ledger(home)
    assert_sound(home.settings)


def test_a_person_who_was_not_seen_counts_nowhere(home: Home) -> None:
    """They are known, and neither one of the people nor of the faces."""
    with home.opened() as service:
        people = People(service.database)

        assert ["Ada"] == [one.name for one in people.known_only()]
        assert 0 == people.count()
        assert 0 == service.faces.count()
        assert {} == service.files.counts()
        assert {} == service.slice_queue.counts()
        assert [] == list(service.faces.listing())
        assert ("Ada",) == service.snapshots.read(home.now).known_people
    page = (home.people / "STATUS.html").read_text()
    assert "Known from a picture, not seen yet: Ada" in page


def test_a_picture_in_the_folder_of_a_person_is_theirs(
    seen_home: Home, photographs: list[Path]
) -> None:
    """It is not shown, and is no portrait of theirs."""
    before = folders(seen_home)
    show(seen_home, ANN, as_jpeg(photographs[0]))
    seen_home.run()

    assert ["reference"] == ledger(seen_home)
    assert before == folders(seen_home)
    assert [1] == [row["person_id"] for row in seen_home.rows("faces") if row["hidden"] == 3]


def test_a_picture_names_whom_the_grouping_found(seen_home: Home, photographs: list[Path]) -> None:
    """The person who was person-0001 until now is Ada."""
    before = folders(seen_home)
    show(seen_home, "Ada", as_jpeg(photographs[0]))
    seen_home.run()

    assert {"Ada": before[ANN], BOB: before[BOB]} == folders(seen_home)


def test_the_same_photo_can_be_dropped_as_well(home: Home) -> None:
    """Then it is a recording like any other, and is shown."""
    home.drop(home.people / "Ada" / REF, "photo.jpg")
    home.run()

    assert {"Ada": 1} == folders(home)
    assert {"done": 1} == counted(home)


def counted(home: Home) -> dict[str, int]:
    with home.opened() as service:
        return service.files.counts()


def test_a_removed_picture_represents_nobody(home: Home, two_people: Path) -> None:
    """Who comes later is not known; and a picture that was removed by mistake counts again."""
    picture = home.people / "Ada" / REF
    data = picture.read_bytes()
    picture.unlink()
    home.run()
    assert ["reference", "remove-reference"] == ledger(home)
    assert [None] == represented(home)

    home.drop(two_people, "clip.mp4")
    home.run()
    assert "Ada" not in folders(home)

    show(home, "Ada", data)
    home.run()
    assert ["reference", "remove-reference", "reference"] == ledger(home)
    assert "Ada" in folders(home)


def test_a_replaced_picture_is_read_again(home: Home, photographs: list[Path]) -> None:
    """The first face represents nobody; the other one is Ada's now."""
    show(home, "Ada", as_jpeg(photographs[1]))
    home.run()

    assert [None, "Ada"] == represented(home)


def test_a_renamed_folder_renames_the_person(home: Home, two_people: Path) -> None:
    """Nothing is read again, and who is seen then has the new name."""
    (home.people / "Ada").rename(home.people / "Countess")
    home.run()
    assert ["reference", "name"] == ledger(home)
    assert ["Countess"] == represented(home)
    assert 1 == len(home.rows("videos"))

    home.drop(two_people, "clip.mp4")
    home.run()
    assert {"Countess", BOB} == set(folders(home))


def test_a_picture_moved_to_another_folder_is_of_that_person(home: Home) -> None:
    """A new one, if there is nobody of that name."""
    other = home.people / "Grace"
    other.mkdir()
    shutil.move(home.people / "Ada" / REF, other / "me.jpg")
    home.run()

    assert ["Grace"] == represented(home)
    assert ["reference", "reference"] == ledger(home)


def test_a_picture_of_two_people_at_once_says_nothing(home: Home) -> None:
    """Neither is guessed: the first entry stays, and the reviewer is told."""
    show(home, "Grace", (home.people / "Ada" / REF).read_bytes(), "me.jpg")
    home.run()

    assert ["Ada"] == represented(home)
    assert {f"Ada/{REF}", "Grace/me.jpg"} == set(notices(home))
    assert {ReasonCode.REFERENCE_OF_TWO} == set(notices(home).values())

    (home.people / "Grace" / "me.jpg").unlink()
    home.run()
    assert {} == notices(home)


def test_several_pictures_represent_one_person(home: Home, photographs: list[Path]) -> None:
    """Here of two women, which is the reviewer's business; in folders within it as well."""
    show(home, "Ada", as_jpeg(photographs[1]), "second.jpeg")
    show(home, "Ada/more", as_jpeg(photographs[0])[:-2] + b"\0\0", "third.JPG")
    home.run()

    assert ["Ada"] * 3 == represented(home)


def test_what_does_not_say_who_it_is_gets_a_notice(home: Home, photographs: list[Path]) -> None:
    """And nothing is guessed or stored; the notice goes with its cause."""
    one, other = map(as_jpeg, photographs)
    show(home, "Both", beside(other, one, times=2.4))
    show(home, "None", without_face())
    show(home, "Torn", b"\xff\xd8\xff\xe0 not a picture at all" * 50)
    show(home, "person-0099", one + b"0")
    home.run()

    assert {
        f"Both/{REF}": ReasonCode.REFERENCE_OF_SEVERAL,
        f"None/{REF}": ReasonCode.REFERENCE_WITHOUT_FACE,
        f"Torn/{REF}": ReasonCode.REFERENCE_UNREADABLE,
        "person-0099": ReasonCode.REFERENCE_WITHOUT_NAME,
    } == notices(home)
    assert ["Ada"] == represented(home)
    assert ["reference"] == ledger(home)

    for name in ("Both", "None", "Torn", "person-0099"):
        shutil.rmtree(home.people / name)
    home.run()
    assert {} == notices(home)


def test_a_picture_without_a_face_may_have_any_name(home: Home) -> None:
    """Its notice is text, although its name is not; the picture is read once."""
    show(home, "Ada", without_face(), os.fsdecode(b"\xff\xfe.jpg"))
    home.run()

    assert {r"Ada/\xff\xfe.jpg": ReasonCode.REFERENCE_WITHOUT_FACE} == notices(home)
    assert {} == home.blocked_stages()
    assert r"\xff\xfe.jpg" in (home.people / "STATUS.html").read_text()


def test_the_clearly_largest_face_is_meant(home: Home, photographs: list[Path]) -> None:
    """Nothing is stored about who stands behind."""
    show(home, "Grace", beside(as_jpeg(photographs[0]), as_jpeg(photographs[1])))
    home.run()

    assert ["Ada", "Grace"] == represented(home)


def test_what_is_no_picture_of_the_reviewer_is_left_alone(
    home: Home, tmp_path: Path, photographs: list[Path]
) -> None:
    """Clutter of file managers, links, pipes, texts, and pictures outside of a person's folder."""
    data = as_jpeg(photographs[1])
    for name in ("._ref.jpg", ".ref.jpg", "Thumbs.db", ".DS_Store", "notes.txt"):
        show(home, "Ada", data, name)
    show(home, "_who", data)
    show(home, "_unsorted", data)
    show(home, "_ignored/Grace", data)
    (home.people / "loose.jpg").write_bytes(data)
    (tmp_path / "elsewhere.jpg").write_bytes(data)
    (home.people / "Ada" / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    os.mkfifo(home.people / "Ada" / "pipe.jpg")
    home.run()

    assert ["Ada"] == represented(home)
    assert ["reference"] == ledger(home)
    assert {} == notices(home)


def test_an_undo_lasts_although_the_picture_is_there(home: Home, two_people: Path) -> None:
    """Also after a restart; and it can be undone."""
    with home.opened() as service:
        home.run_until_idle(service)
        service.review.undo(None, home.now.wall_s)
        home.run_until_idle(service)
    assert [None] == represented(home)
    assert {f"Ada/{REF}": ReasonCode.REFERENCE_UNDONE} == notices(home)

    home.drop(two_people, "clip.mp4")
    home.run()
    assert {"person-0002", "person-0003"} == set(folders(home))
    assert ["reference", "undo"] == ledger(home)
    assert {f"Ada/{REF}": ReasonCode.REFERENCE_UNDONE} == notices(home)

    with home.opened() as service:
        service.review.undo(2, home.now.wall_s)
        home.run_until_idle(service)
    assert ["Ada"] == represented(home)
    assert "Ada" in folders(home)
    assert {} == notices(home)


def test_an_undone_picture_stays_in_the_folder_that_the_reviewer_named(
    home: Home, photographs: list[Path]
) -> None:
    """Also when it is published. It counts again if that is undone, or under another name."""
    picture = home.people / "Ada" / REF
    home.drop(as_jpeg(photographs[1]), "other.jpg")
    with home.opened() as service:
        home.run_until_idle(service)
        service.review.undo(None, home.now.wall_s)
        home.run_until_idle(service)
        assert {f"Ada/{REF}": ReasonCode.REFERENCE_UNDONE} == notices(home)
        assert [None] == represented(home)

        service.review.undo(2, home.now.wall_s)
        home.run_until_idle(service)
        assert ["Ada"] == represented(home)
        service.review.undo(3, home.now.wall_s)
        home.run_until_idle(service)
    assert picture.exists()
    assert {f"Ada/{REF}": ReasonCode.REFERENCE_UNDONE} == notices(home)

    picture.parent.rename(home.people / "Eve")
    home.run()

    assert ["reference", "undo", "undo", "undo", "reference"] == ledger(home)
    assert ["Eve"] == represented(home)
    assert {} == notices(home)
    assert_sound(home.settings)


def test_an_erased_person_is_not_known_again(home: Home) -> None:
    """The picture is the reviewer's and stays; it is not read a second time."""
    with home.opened() as service:
        eraser = Eraser(service.database)
        eraser.erase(eraser.person("Ada"), home.now.wall_s)
        home.run_until_idle(service)
        with pytest.raises(ConfigError):
            eraser.person("Ada")
    assert [] == home.rows("faces")

    # As another file with the same picture, in the folder that has no name any more.
    (picture,) = home.people.glob(f"*/{REF}")
    assert "Ada" not in str(picture)
    shutil.copyfile(picture, picture.with_name("again.jpg"))
    show(home, "Ada", picture.read_bytes())
    home.run()
    assert [] == home.rows("faces")
    assert picture.exists()


def test_a_rebuild_keeps_whom_a_picture_shows(home: Home) -> None:
    """As every other edit."""
    with home.opened() as service:
        home.run_until_idle(service)
        service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service)

    assert ["Ada"] == represented(home)
    assert ["reference"] == ledger(home)
