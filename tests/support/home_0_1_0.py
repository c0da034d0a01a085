"""A home as version 0.1.0 left it, as a recipe: database, people tree, inbox and state files.

Everything here is written in the words of that version: schema 9, its table and column names, its
manifests and its way to mark portraits. None of it uses code of today, except to find the scripts
of the first nine schemas.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SCHEMA = 9
STORE = "0123456789abcdef0123456789abcdef"
KEY = bytes(range(32))
BEGUN_S = 900_000_000.0

BOX = (100, 100, 200, 220)
AREA = (40, 40, 260, 290)

ANN, BOB, ANN_AGAIN, DEE, EVA, EVE = 1, 2, 3, 4, 5, 6
"""People: Ann has a name, the third was merged into her, Eve was split from Bob, Dee is ignored,
Eva was ignored and recalled."""

BLURRED = 8
"""A human of whom one blurred track is all there is: it has no person."""

ERASED_FACE = 99
ERASED_CONTENT = hashlib.sha256(b"erased").hexdigest()
PARTIAL_CONTENT = hashlib.sha256(b"partial").hexdigest()

LEDGER: tuple[tuple[str, int | None, int | None, str | None, int | None], ...] = (
    ("name", ANN, None, "Ann", None),
    ("merge", ANN_AGAIN, ANN, None, None),
    ("place", ANN, None, None, None),
    ("place", None, None, None, None),
    ("split", EVE, None, "Eve", None),
    ("exclude", None, None, None, None),
    ("ignore-faces", None, None, None, None),
    ("ignore-person", DEE, None, None, None),
    ("ignore-person", EVA, None, None, None),
    ("recall-person", EVA, None, None, None),
    ("name", BOB, None, "Bob", None),
    ("undo", None, None, None, 11),
)
"""Kind, person, the person they became, name, and the entry that is undone."""


@dataclass(frozen=True)
class OldTrack:
    """A track of two faces in a video of its own.

    Attributes:
        human: Who is seen: tracks of one human are alike.
        person: Whose its faces are; 0 for nobody.
        moved_by: The ledger entry that moved it, and whose it was before.
        hidden: 1 if it was excluded, 2 if it was ignored.
    """

    human: int
    person: int
    moved_by: tuple[int, int] | None = None
    hidden: int = 0


TRACKS = (
    *[OldTrack(ANN, ANN)] * 4,
    *[OldTrack(ANN_AGAIN, ANN)] * 3,
    *[OldTrack(BOB, BOB)] * 4,
    OldTrack(BOB, ANN, (3, BOB)),
    OldTrack(BOB, 0, (4, BOB)),
    *[OldTrack(BOB, EVE, (5, BOB))] * 2,
    OldTrack(BOB, 0, (6, BOB), hidden=1),
    *[OldTrack(DEE, DEE)] * 4,
    *[OldTrack(EVA, EVA)] * 4,
    OldTrack(EVA, EVA, (7, EVA), hidden=2),
    OldTrack(BLURRED, 0),
)
"""Track ``n`` has the faces ``2 n - 1`` and ``2 n`` and is seen in video ``n``; from 1."""

MERGED_TRACKS = (5, 6, 7)

FOLDERS = {
    ANN: ("Ann", "Ann"),
    BOB: ("person-0002", "person-0002"),
    DEE: ("person-0004", "_ignored/person-0004"),
    EVA: ("person-0005", "person-0005"),
    EVE: ("Eve", "Eve"),
}
"""Label and location of each person's folder."""


def make_home_0_1_0(home_dir: Path) -> None:
    """Write the home into a folder whose inbox, people and state folders are there and empty."""
    _write_inbox(home_dir / "inbox")
    with closing(_create(home_dir / "state")) as db:
        db.execute("begin")
        _write_videos(db, home_dir / "inbox")
        _write_people(db)
        _write_ledger(db)
        _write_datasets(db)
        _write_erasures(db)
        _write_the_rest(db)
        _write_tree(db, home_dir / "people")
        db.execute("commit")
    _write_derived_files(home_dir / "state")


def faces_of(tracks: int | tuple[int, ...]) -> list[int]:
    """Return the ids of the faces of tracks."""
    numbers = (tracks,) if isinstance(tracks, int) else tracks
    return [face for number in numbers for face in (2 * number - 1, 2 * number)]


@cache
def embedding(face: int) -> NDArray[np.float32]:
    """Return a face's embedding: near to all others of its human."""
    human = TRACKS[(face - 1) // 2].human
    vector = np.random.default_rng(human).normal(size=128)
    vector += np.random.default_rng(1000 + face).normal(size=128) * 0.02
    return (1.4 * vector / np.linalg.norm(vector)).astype("<f4")


def mean_embedding(track: int) -> NDArray[np.float32]:
    return np.mean([embedding(face) for face in faces_of(track)], axis=0).astype("<f4")


@cache
def portrait(face: int) -> bytes:
    """Return the JPEG that was cut for a face."""
    noise = np.random.default_rng(2000 + face).integers(0, 255, (40, 36, 3), np.uint8)
    picture = cv2.resize(noise, (AREA[2] - AREA[0], AREA[3] - AREA[1]))
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def video_name(track: int) -> str:
    return f"clip {track:02d}.mp4"


def video_sha256(track: int) -> str:
    return hashlib.sha256(_video(track)).hexdigest()


def time_of(face: int) -> float:
    """Return when a face is seen in its video: the second of a track one second later."""
    return float((face + 1) % 2)


def _video(track: int) -> bytes:
    return f"stands for video {track}".encode()


# --- The database.


def _create(state_dir: Path) -> sqlite3.Connection:
    path = state_dir / "portraitd.sqlite3"
    path.touch(0o600)
    db = sqlite3.connect(path, isolation_level=None)
    scripts = resources.files("portraitd.store") / "migrations"
    for number in range(1, SCHEMA + 1):
        (script,) = (one for one in scripts.iterdir() if one.name.startswith(f"{number:04d}_"))
        db.executescript(script.read_text(encoding="utf-8"))
    db.execute(f"pragma user_version = {SCHEMA}")
    db.execute(f"pragma application_id = {0x706F7274}")
    db.execute("pragma foreign_keys = on")
    db.execute("update store_name set name = ?", (STORE,))
    return db


def _insert(db: sqlite3.Connection, table: str, **values: Any) -> int:
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    sql = f"insert into {table} ({names}) values ({marks})"
    return int(db.execute(sql, tuple(values.values())).lastrowid or 0)


def _write_inbox(inbox_dir: Path) -> None:
    for track in range(1, len(TRACKS) + 1):
        (inbox_dir / video_name(track)).write_bytes(_video(track))
    (inbox_dir / "copy.mp4").write_bytes(_video(1))
    (inbox_dir / "text.txt").write_bytes(b"no video")
    (inbox_dir / "broken.mp4").write_bytes(b"broken")
    (inbox_dir / "erased.mp4").write_bytes(b"erased")
    (inbox_dir / "partial.mp4").write_bytes(b"partial")


def _insert_file(db: sqlite3.Connection, path: Path, state: str, **values: Any) -> None:
    facts = path.stat() if path.exists() else None
    _insert(
        db,
        "files",
        root=b"",
        path=path.name.encode(),
        size=facts.st_size if facts else 0,
        mtime_ns=facts.st_mtime_ns if facts else 0,
        inode=facts.st_ino if facts else 0,
        state=state,
        attempts=1,
        seen_at=BEGUN_S,
        changed_at=BEGUN_S + 1,
        **values,
    )


def _insert_video(db: sqlite3.Connection, number: int, data: bytes, **values: Any) -> None:
    facts = {"state": "done", "reason": ""} | values
    _insert(
        db,
        "videos",
        id=number,
        sha256=hashlib.sha256(data).hexdigest(),
        kind="video",
        duration_s=2.0,
        fps=25.0,
        width_px=640,
        height_px=480,
        added_at=BEGUN_S + number,
        finished_at=BEGUN_S + number + 50,
        tracked=1,
        content_size=len(data),
        **facts,
    )
    _insert(
        db,
        "jobs",
        id=number,
        video_id=number,
        start_s=0.0,
        stop_s=float("inf"),
        attempts=1,
        sampled=2,
        decoded=50,
        ended_s=1.0,
        seconds=0.5,
        finished_at=BEGUN_S + number + 50,
        **facts,
    )


def _write_videos(db: sqlite3.Connection, inbox_dir: Path) -> None:
    for person in (ANN, BOB, ANN_AGAIN, DEE, EVA, EVE):
        _insert(db, "people", id=person, created_at=BEGUN_S + person)
    for number, track in enumerate(TRACKS, 1):
        _insert_video(db, number, _video(number))
        _insert_file(db, inbox_dir / video_name(number), "done", video_id=number)
        _insert(
            db,
            "tracks",
            id=number,
            video_id=number,
            faces=2,
            goodness=0.04 if track.human == BLURRED else 1.0,
            best_face_id=2 * number - 1,
            spread=0.001,
            embedding=mean_embedding(number).tobytes(),
        )
        for face in faces_of(number):
            _insert(
                db,
                "faces",
                id=face,
                video_id=number,
                job_id=number,
                t_s=time_of(face),
                **dict(zip(("box_left", "box_top", "box_right", "box_bottom"), BOX, strict=True)),
                score=1.25,
                landmarks=np.arange(10, dtype="<f4").tobytes(),
                size_px=100.0,
                sharpness=2.5 if track.human == BLURRED else 40.0,
                frontal=0.5,
                confidence=1.0,
                encoder="dlib-resnet-v1+mirror",
                embedding=embedding(face).tobytes(),
                person_id=track.person or None,
                hidden=track.hidden,
                rank=None if face % 2 == 0 else 0,
                track_id=number,
                added_at=BEGUN_S + number + 40,
            )
            db.execute(
                "insert into portraits values (?, ?, ?, ?, ?, ?)", (face, *AREA, portrait(face))
            )
    db.execute("insert into apart values (1, 8)")
    broken = len(TRACKS) + 1
    reason = "no frame could be decoded; try re-encoding it"
    _insert_video(db, broken, b"broken", state="failed", reason=reason)
    _insert_file(db, inbox_dir / "broken.mp4", "failed", reason=reason, video_id=broken)
    same = f"same content as {video_name(1)}"
    _insert_file(db, inbox_dir / "copy.mp4", "duplicate", reason=same, video_id=1)
    _insert_file(db, inbox_dir / "text.txt", "failed", reason="text, not a video or photo")
    forgotten = "forgotten on 1998-07-10"
    _insert_file(db, inbox_dir / "erased.mp4", "forgotten", reason=forgotten)
    _insert_file(db, inbox_dir / "gone.mp4", "gone", reason="no longer in the inbox")
    part = f"the beginning of {video_name(2)}, a copy that was broken off"
    _insert_file(db, inbox_dir / "partial.mp4", "duplicate", reason=part, video_id=2)
    _insert(
        db,
        "beginnings",
        sha256=PARTIAL_CONTENT,
        video_id=2,
        content_size=7,
        duration_s=1.0,
        fps=25.0,
        reason="only 1.0 s of 2.0 s could be decoded",
    )


def _write_people(db: sqlite3.Connection) -> None:
    for person, name in ((ANN, "Ann"), (EVE, "Eve")):
        db.execute("update people set name = ? where id = ?", (name, person))
    db.execute("update people set locked = 1, split_from = ? where id = ?", (BOB, EVE))
    db.execute("update people set merged_into = ? where id = ?", (ANN, ANN_AGAIN))
    db.execute("update people set ignored = 1 where id = ?", (DEE,))
    _insert(
        db,
        "censuses",
        parameters='["people", {"density": {"eps": 0.36, "min_samples": 3}}]',
        last_id=len(TRACKS),
        faces=2 * len(TRACKS),
        people=5,
        unassigned=4,
        churn=0,
        seconds=1.5,
        finished_at=BEGUN_S + 500,
        tracks=len(TRACKS),
        memory="grouping-old.npz",
        ledger_id=len(LEDGER),
        forced=0,
    )
    db.execute("insert into close_people values (?, ?, 0.52)", (BOB, EVE))


def _write_ledger(db: sqlite3.Connection) -> None:
    for number, (kind, person, into, name, undoes) in enumerate(LEDGER, 1):
        _insert(
            db,
            "ledger",
            id=number,
            at=BEGUN_S + 100 * number,
            kind=kind,
            person_id=person,
            into_id=into,
            name=name,
            undoes=undoes,
        )
    for face in range(1, 2 * len(TRACKS) + 1):
        _insert(
            db,
            "face_keys",
            id=face,
            sha256=video_sha256((face + 1) // 2),
            t_s=time_of(face),
            **dict(zip(("box_left", "box_top", "box_right", "box_bottom"), BOX, strict=True)),
            step_s=1.0,
        )
        db.execute("insert into key_faces values (?, ?)", (face, face))

    def mention(entry: int, faces: list[int], role: str, person: int | None) -> None:
        db.executemany(
            "insert into ledger_faces values (?, ?, ?, ?, 1)",
            [(entry, face, role, person) for face in faces],
        )

    anns, bobs, dees = [1, 3, 5, 7], [15, 17, 19, 21], [33, 35, 37, 39]
    for number, track in enumerate(TRACKS, 1):
        if track.moved_by:
            mention(track.moved_by[0], faces_of(number), "moved", track.moved_by[1])
    mention(1, anns, "anchor", ANN)
    mention(2, faces_of(MERGED_TRACKS)[::2], "anchor", ANN_AGAIN)
    mention(2, anns, "anchor", ANN)
    mention(2, faces_of(MERGED_TRACKS)[::2], "member", ANN_AGAIN)
    mention(3, anns, "anchor", ANN)
    for entry in (3, 4, 5):
        mention(entry, bobs, "against", BOB)
    mention(8, dees, "anchor", DEE)
    for entry in (9, 10):
        mention(entry, [41, 43, 45, 47], "anchor", EVA)
    mention(11, bobs, "anchor", BOB)


def _write_datasets(db: sqlite3.Connection) -> None:
    for number, kind in ((0, "unknown"), (1, "person"), (2, "person")):
        _insert(db, "classes", id=number, kind=kind, created_at=BEGUN_S)
    for number, person, name in ((0, None, "unknown"), (1, ANN, "Anna"), (2, EVE, "Eve")):
        _insert(db, "class_holders", class_id=number, person_id=person, name=name, since=BEGUN_S)
    _insert(db, "class_holders", class_id=1, person_id=ANN, name="Ann", since=BEGUN_S + 1)
    for key, split in (
        (f"video {video_sha256(1)}", "train"),
        (f"stretch {video_sha256(2)} 0.0", "val"),
        (f"track {video_sha256(3)[:12]}-000000000-100", "train"),
    ):
        _insert(db, "splits", key=key, split=split, since=BEGUN_S)


def _write_erasures(db: sqlite3.Connection) -> None:
    """One erasure is finished; the other has yet to reach the people tree."""
    _insert(db, "tombstone_keys", id=1, key=KEY)
    for kind, parts in (
        ("content", (ERASED_CONTENT,)),
        ("face", (video_sha256(1), 7, 3, 3)),
        ("moment", (video_sha256(1), 7)),
        ("person", (7, repr(BEGUN_S))),
    ):
        digest = hmac.digest(KEY, "\0".join(map(str, parts)).encode(), hashlib.sha256)
        _insert(db, "tombstones", digest=digest, kind=kind, key_id=1, at=BEGUN_S)
    _insert(
        db,
        "forgettings",
        id=1,
        what="video",
        faces=2,
        videos=1,
        people=0,
        at=BEGUN_S,
        finished_at=BEGUN_S + 1,
    )
    _insert(db, "forgettings", id=2, what="person", faces=1, videos=0, people=1, at=BEGUN_S + 2)
    ending = hashlib.sha256(portrait(ERASED_FACE)[-1024:]).digest()
    _insert(db, "erasures", forgetting_id=2, face_id=ERASED_FACE, ending=ending)
    _insert(db, "erased_pictures", forgetting_id=2, stem=f"{ERASED_CONTENT[:12]}-000000000")


def _write_the_rest(db: sqlite3.Connection) -> None:
    _insert(
        db,
        "publications",
        id=1,
        census_id=1,
        look="2/0/0",
        ledger_id=len(LEDGER),
        finished_at=BEGUN_S + 600,
    )
    _insert(
        db, "showings", published_at=BEGUN_S + 600, look="1 old", last_id=9, shown_at=BEGUN_S + 601
    )
    reason = "40 of 41 portraits are gone; the share may be away. If they were removed on purpose, "
    _insert(db, "troubles", room="review", reason=f"{reason}run `portraitd accept`", since=BEGUN_S)
    db.execute("insert into cluster values (1, 'tls://one:8786', '', 1, ?)", (BEGUN_S,))
    db.execute(
        "insert into crew values ('tls://two:1', 'two', 'accepted', '', 4, 1, 9, 60.0, 7.5, 1)"
    )
    for face, person, hidden in db.execute("select id, person_id, hidden from faces").fetchall():
        if hidden != 1:
            place = -1 if hidden else person or 0
            db.execute("insert into shown values (?, ?)", (face, place))


# --- The people tree.

_HEADER = b"http://ns.adobe.com/xap/1.0/\0"


def _write_tree(db: sqlite3.Connection, people_dir: Path) -> None:
    homes: dict[str, tuple[str, int]] = {}
    for number, _, location, _ in _folders():
        folder = people_dir / location
        folder.mkdir(parents=True)
        homes[str(number)] = (location, folder.stat().st_ino)
    for number, label, location, person in _folders():
        folder = people_dir / location
        files: dict[str, list[object]] = {}
        name = label if label in ("Ann", "Eve") else None
        shown = db.execute(
            "select face_id from shown where place = ? order by 1", (-1 if number < 0 else number,)
        )
        faces = [row[0] for row in shown]
        for face in faces:
            files |= _write_portrait(folder, face, name, person)
        if person and not location.startswith("_ignored"):
            digest = hashlib.sha256(repr(faces).encode()).hexdigest()[:16]
            files |= _write(folder / "montage.jpg", portrait(faces[0]), f"montage {digest}")
        facts = {"portraitd": 1, "person": person, "label": label, "folder": location}
        facts["inode"] = folder.stat().st_ino
        (folder / ".person.json").write_bytes(_manifest(facts, files))
    readme = _write(people_dir / "README.txt", b"Rename a folder to name a person.\n", "readme")
    facts = {"portraitd": 1, "person": None, "label": "", "folder": "", "inode": 0}
    facts |= {"store": STORE, "homes": homes}
    (people_dir / ".portraitd-root").write_bytes(_manifest(facts, readme))
    # A copy that somebody made of a portrait whose face was erased since.
    (people_dir / "_unsorted" / "holiday.jpg").write_bytes(portrait(ERASED_FACE))


def _folders() -> Iterator[tuple[int, str, str, int | None]]:
    """Number, label, location and person of each folder, parents first."""
    yield -2, "_ignored", "_ignored", None
    yield 0, "_unsorted", "_unsorted", None
    for person, (label, location) in FOLDERS.items():
        yield person, label, location, person


def _write_portrait(
    folder: Path, face: int, name: str | None, person: int | None
) -> dict[str, list[object]]:
    saying = hashlib.sha256(repr(("1", name, STORE)).encode()).hexdigest()[:12]
    identity = f"portrait {face} {','.join(map(str, AREA))} {saying}"
    files = _write(folder / f"{face:06d}.jpg", _marked(face, name), identity)
    if person is not None:
        line = "{} {:.6f} {:.6f} {:.6f} {:.6f}\n".format(person - 1, *_place_of_face())
        files |= _write(folder / f"{face:06d}.txt", line.encode(), line)
    return files


def _place_of_face() -> tuple[float, float, float, float]:
    """Return the face's centre and size, as shares of the portrait."""
    width, height = AREA[2] - AREA[0], AREA[3] - AREA[1]
    return (
        ((BOX[0] + BOX[2]) / 2 - AREA[0]) / width,
        ((BOX[1] + BOX[3]) / 2 - AREA[1]) / height,
        (BOX[2] - BOX[0]) / width,
        (BOX[3] - BOX[1]) / height,
    )


def _marked(face: int, name: str | None) -> bytes:
    """Return a portrait with the XMP packet that says whose face is where in it."""
    x, y, w, h = _place_of_face()
    keywords = f"""\
<dc:subject><rdf:Bag><rdf:li>{name}</rdf:li></rdf:Bag></dc:subject>
<digiKam:TagsList><rdf:Seq><rdf:li>People/{name}</rdf:li></rdf:Seq></digiKam:TagsList>
"""
    called = f'mwg-rs:Name="{name}" ' if name else ""
    packet = f"""\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:digiKam="http://www.digikam.org/ns/1.0/"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
 xmlns:portraitd="urn:portraitd:face:"
 portraitd:store="{STORE}"
 portraitd:face="{face}"
 portraitd:video="{video_sha256((face + 1) // 2)}"
 portraitd:source="{video_name((face + 1) // 2)}"
 portraitd:time="{time_of(face)!r}"
 portraitd:box="{",".join(map(str, BOX))}">
{keywords if name else ""}<mwg-rs:Regions rdf:parseType="Resource">
<mwg-rs:AppliedToDimensions stDim:w="{AREA[2] - AREA[0]}" stDim:h="{AREA[3] - AREA[1]}" \
stDim:unit="pixel"/>
<mwg-rs:RegionList><rdf:Bag><rdf:li><rdf:Description {called}mwg-rs:Type="Face">
<mwg-rs:Area stArea:x="{x:.6f}" stArea:y="{y:.6f}" stArea:w="{w:.6f}" stArea:h="{h:.6f}" \
stArea:unit="normalized"/>
</rdf:Description></rdf:li></rdf:Bag></mwg-rs:RegionList>
</mwg-rs:Regions>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
    jpeg, body = portrait(face), _HEADER + packet.encode()
    # Behind the JFIF segment, which OpenCV writes first.
    at = 4 + int.from_bytes(jpeg[4:6], "big")
    return jpeg[:at] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[at:]


def _write(path: Path, data: bytes, identity: str) -> dict[str, list[object]]:
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return {path.name: [identity, sha256, len(data), path.stat().st_mtime_ns]}


def _manifest(facts: dict[str, object], files: dict[str, list[object]]) -> bytes:
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(files.items())]
    return "".join([json.dumps(facts)[:-1], ', "files": {\n', ",\n".join(lines), "\n}}\n"]).encode()


def _write_derived_files(state_dir: Path) -> None:
    means = np.stack([mean_embedding(number) for number in range(1, len(TRACKS) + 1)])
    (state_dir / "tracks.f32").write_bytes(means.tobytes())
    np.savez(state_dir / "grouping-old.npz", levelled=means)
