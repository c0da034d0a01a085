"""People review over a network share: a real Samba server, a real client, and publishes between."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from portraitd.model.edit import (
    AssignFaces,
    ExcludeFaces,
    IgnoreFaces,
    IgnorePerson,
    MergePeople,
    NamePerson,
    RecallPerson,
    SplitPerson,
)
from portraitd.people.tree.people_tree import PeopleTree
from support.samba import MISSING, Share, shared
from support.tree import (
    ANNA,
    BOB,
    CARL,
    KNOWN,
    PEOPLE,
    UNSORTED,
    face,
    known,
    person,
    picture_of,
    publish,
    refuse,
    three_people,
)
from support.xmp_removal import without_mark

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


@pytest.fixture
def tree(root: Path) -> PeopleTree:
    """Three people and two faces of nobody, and a file that somebody put beside them."""
    fresh = three_people(root)
    (root / "Anna/holiday plans.txt").write_text("mine")
    return fresh


@pytest.fixture
def share(tree: PeopleTree, root: Path, tmp_path: Path) -> Iterator[Share]:
    own = tmp_path / "samba"
    own.mkdir()
    with shared(root, own) as running:
        yield running


def test_every_gesture_comes_through_the_share(tree: PeopleTree, root: Path, share: Share) -> None:
    """All rows of the table in one review, with a publish before anything of it was read."""
    share.do(
        'rename "person-0002" "Müller & Söhne"',
        r'rename "person-0003" "Anna\person-0003"',
        r'rename "Anna\000001.jpg" "Müller & Söhne\000001.jpg"',
        r'rename "_unsorted\000008.jpg" "Anna\somebody.jpg"',
        'mkdir "New folder"',
        r'rename "_unsorted\000009.jpg" "New folder\000009.jpg"',
        r'del "Anna\000002.jpg"',
        r'rename "Anna\000003.jpg" "_ignored\000003.jpg"',
    )

    publish(tree, PEOPLE, UNSORTED, refuse, {})

    assert [
        NamePerson(2, "Müller & Söhne"),
        MergePeople(3, 1),
        IgnoreFaces((3,)),
        AssignFaces((8,), 1),
        AssignFaces((1,), 2),
        SplitPerson((9,), "New folder", "New folder"),
        ExcludeFaces((2,)),
    ] == tree.read_edits(KNOWN)

    tree.adopt("New folder", 4)
    people = [
        person(1, 6, 8, name="Anna"),
        person(2, 1, 4, 5, name="Müller & Söhne"),
        person(4, 9, name="New folder"),
    ]
    done = publish(tree, people, [], picture_of, {}, ignored_faces=[face(3)])

    assert {1: "Anna", 2: "Müller & Söhne", 4: "New folder"} == done.folders
    assert "Anna/somebody.jpg" == done.portraits[8]
    assert not (root / "Anna/person-0003").exists()
    assert "mine" == (root / "Anna/holiday plans.txt").read_text()
    everything = known(*people, excluded=[2], ignored_faces=[3])
    assert [] == tree.read_edits(everything)
    assert 0 == publish(tree, people, [], refuse, {}, ignored_faces=[face(3)]).written


def test_a_person_goes_out_of_sight_and_comes_back(tree: PeopleTree, share: Share) -> None:
    """A folder that was deleted lies in ``_ignored`` then, from where it is recalled."""
    share.do("deltree person-0002")
    assert [IgnorePerson(2)] == tree.read_edits(KNOWN)
    publish(tree, [ANNA, CARL], UNSORTED, picture_of, {}, ignored=[BOB])

    share.do(r'rename "_ignored\person-0002" "person-0002"')

    heard = known(*PEOPLE, unsorted=[8, 9], ignored_people=[2])
    assert [RecallPerson(2)] == tree.read_edits(heard)
    assert {1, 2, 3} == publish(tree, PEOPLE, UNSORTED, picture_of, {}).folders.keys()


def test_a_portrait_goes_out_and_comes_back(tree: PeopleTree, share: Share, tmp_path: Path) -> None:
    """Fetched through the share, deleted there, and put back under another name."""
    kept = tmp_path / "kept.jpg"
    share.do(rf'get "Anna\000002.jpg" {kept}', r'del "Anna\000002.jpg"')
    assert picture_of(2) == without_mark(kept.read_bytes())
    assert [ExcludeFaces((2,))] == tree.read_edits(KNOWN)
    publish(tree, [person(1, 1, 3, name="Anna"), BOB, CARL], UNSORTED, picture_of, {})

    share.do(rf'put {kept} "Anna\not so bad.jpg"')

    assert [AssignFaces((2,), 1)] == tree.read_edits(known(*PEOPLE, unsorted=[8, 9], excluded=[2]))
    done = publish(tree, PEOPLE, UNSORTED, picture_of, {})
    assert ("Anna/not so bad.jpg", 1) == (done.portraits[2], done.written)


def test_a_copy_through_the_share_means_nothing(tree: PeopleTree, share: Share) -> None:
    """Made by the server itself, as file managers ask it to."""
    share.do(
        r'scopy "Anna\000001.jpg" "person-0002\000001.jpg"',
        r'scopy "Anna\000001.jpg" "Anna\Copy of 000001.jpg"',
    )

    assert [] == tree.read_edits(KNOWN)


def test_renaming_while_portraits_are_written(tree: PeopleTree, root: Path, share: Share) -> None:
    """A folder is renamed in the middle of a publish into it, and a portrait deleted."""
    more = person(1, 1, 2, 3, *range(20, 40), name="Anna")

    def content(face_id: int) -> bytes:
        if face_id == 25:
            share.do('rename "Anna" "Mum"', r'del "Mum\000001.jpg"')
        return picture_of(face_id)

    done = publish(tree, [more, BOB, CARL], UNSORTED, content, {})

    assert "Mum" == done.folders[1]
    assert not (root / "Anna").exists()
    assert 22 == len(list((root / "Mum").glob("0*.jpg")))
    expected = [NamePerson(1, "Mum"), ExcludeFaces((1,))]
    assert expected == tree.read_edits(known(more, BOB, CARL, unsorted=[8, 9]))


def test_a_portrait_that_is_open_can_be_moved_by_portraitd(
    tree: PeopleTree, root: Path, share: Share
) -> None:
    """A viewer that holds a file on the share does not stop a publish, nor lose the file."""
    session = share.session()
    assert session.stdin
    assert session.stdout
    session.stdin.write('open "Anna\\000001.jpg"\n')
    session.stdin.flush()
    while "open file" not in (line := session.stdout.readline()):
        assert line, "the client ended"

    publish(
        tree, [person(1, 2, 3, name="Anne"), person(2, 1, 4, 5), CARL], UNSORTED, picture_of, {}
    )

    session.communicate("quit\n", timeout=60)
    assert (root / "person-0002/000001.jpg").is_file()
    assert (root / "Anne/000002.jpg").is_file()
    assert [] == tree.read_edits(
        known(person(1, 2, 3, name="Anne"), person(2, 1, 4, 5), CARL, unsorted=[8, 9])
    )


def test_two_people_who_work_at_once(tree: PeopleTree, root: Path, share: Share) -> None:
    """Each deed of either counts, in whatever order they come, and nothing foreign is touched."""
    first, second = share.session(), share.session()
    for number, session in enumerate((first, second)):
        assert session.stdin
        for turn in range(20):
            name = f"{number} {turn}"
            session.stdin.write(f'mkdir "person-0002\\{name}"\n')
            session.stdin.write(f'rename "person-0002\\{name}" "{name}"\n')
        moved = ["Anna\\000001.jpg", "Anna\\000002.jpg"][number]
        session.stdin.write(f'rename "{moved}" "person-0002\\by {number}.jpg"\n')
        session.stdin.flush()
    for _ in range(5):
        publish(tree, PEOPLE, UNSORTED, picture_of, {})
    for session in (first, second):
        said, _ = session.communicate("quit\n", timeout=60)
        assert "NT_STATUS" not in said

    assert [AssignFaces((1, 2), 2)] == tree.read_edits(KNOWN)
    assert 40 == len([path for path in root.iterdir() if path.name[0] in "01"])
    assert "mine" == (root / "Anna/holiday plans.txt").read_text()


def test_a_share_that_goes_away_takes_nothing_with_it(
    tree: PeopleTree, root: Path, share: Share, tmp_path: Path
) -> None:
    """What is read before, while and after the folder behind it was replaced."""
    away = tmp_path / "away"
    root.rename(away)
    root.mkdir()
    with pytest.raises(Exception, match="the share may not be mounted"):
        tree.read_edits(KNOWN)
    shutil.rmtree(root)
    away.rename(root)

    assert [] == tree.read_edits(KNOWN)
    share.do(r'del "Anna\000002.jpg"')
    assert [ExcludeFaces((2,))] == tree.read_edits(KNOWN)
