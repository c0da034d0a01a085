"""Boxes that were corrected in CVAT come back, are undone, and are there after a rebuild."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from portraitd.cli.dataset_imports import plan_import, record
from portraitd.model.edit import UndoEntry
from portraitd.model.face import Box
from portraitd.service.control import IMPORT_BOXES
from portraitd.service.control_files import ControlFiles, ControlRequest
from portraitd.store.corrections.edit_recorder import EditRecorder
from portraitd.store.corrections.ledger import Ledger
from support.cli_runner import make_runner, stderr_of
from support.cvat import Task
from support.dataset_home import ANN, BEA, build_set, name_two
from support.home import Home, assert_sound
from support.reviews import ledger

pytestmark = pytest.mark.slow

SIZE_PX = (480, 360)

SECTIONS: dict[str, dict[str, Any]] = {
    "sampling": {"fps": 1.0},
    "dataset": {"near_duplicate": 0.0, "formats": ("cvat", "coco")},
}

SHIFT = (7, 5)

Import = Callable[..., dict[str, Any]]


def uneven_times_s(count: int = 180) -> list[float]:
    """Times of frames as a phone records them: from 40 to 300 ms apart."""
    steps_ms = [40 + 13 * (number * number % 21) for number in range(count)]
    return (np.cumsum([0, *steps_ms[:-1]]) / 1000).tolist()


def write_uneven_clip(photographs: list[Path], path: Path) -> None:
    """Write a clip at a variable frame rate: two people, who move; the second after the first."""
    pictures = [cv2.imread(str(one)) for one in photographs]
    times_s = uneven_times_s()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE_PX, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, t_s in enumerate(times_s):
            picture = pictures[number * 2 // len(times_s)]
            scale = SIZE_PX[1] / picture.shape[0]
            small = cv2.resize(picture, None, fx=scale, fy=scale)[:, : SIZE_PX[0]]
            image = np.full((SIZE_PX[1], SIZE_PX[0], 3), 90, np.uint8)
            left = number % 60
            image[:, left : left + small.shape[1]] = small[:, : SIZE_PX[0] - left]
            frame = VideoFrame.from_ndarray(image, "bgr24")
            frame.pts, frame.time_base = round(t_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory, photographs: list[Path]) -> Home:
    """Two named people in a clip with an uneven frame rate, and its set; read only."""
    folder = tmp_path_factory.mktemp("uneven")
    write_uneven_clip(photographs, folder / "clip.mp4")
    home = Home(folder / "home", **SECTIONS)
    home.drop(folder / "clip.mp4", "films/gala.mp4")
    home.run()
    name_two(home)
    build_set(home)
    return home


@pytest.fixture
def home(uneven: Home, tmp_path: Path) -> Home:
    shutil.copytree(uneven.settings.home_dir, tmp_path / "copy", symlinks=True)
    home = Home(tmp_path / "copy", **SECTIONS)
    # Its clip has another inode now, and is recognised.
    home.run()
    return home


@pytest.fixture
def command(
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Import:
    run = make_runner(monkeypatch, capsys, tmp_path)

    def command(*words: str | Path) -> dict[str, Any]:
        words = (*words, "--json", "--home", home.settings.home_dir)
        capsys.readouterr()
        answer = run("dataset", "import", *words)
        assert "" == stderr_of(answer)
        found: dict[str, Any] = json.loads(answer.stdout)
        return found

    return command


class SeenFace(NamedTuple):
    """A face as the test names it."""

    id: int
    t_s: float
    box: Box
    person: str | None


def exported(home: Home) -> Path:
    (path,) = (home.settings.dataset_dir / "cvat").glob("*.xml")
    return path


def visible(home: Home) -> list[SeenFace]:
    """The faces that count, by time."""
    names = {row["id"]: row["name"] for row in home.rows("people")}
    return sorted(
        (
            SeenFace(
                row["id"],
                row["t_s"],
                Box(row["box_left"], row["box_top"], row["box_right"], row["box_bottom"]),
                names.get(row["person_id"]),
            )
            for row in home.rows("faces")
            if row["hidden"] == 0
        ),
        key=lambda face: (face.t_s, face.box),
    )


def places(home: Home) -> list[tuple[float, Box, str | None]]:
    """The same without numbers, which change with a rebuild."""
    return [(face.t_s, face.box, face.person) for face in visible(home)]


def number_of(t_s: float) -> int:
    return int(np.abs(np.array(uneven_times_s()) - t_s).argmin())


class Corrections(NamedTuple):
    """Twenty corrections, and what the faces are afterwards."""

    task: Task
    expected: list[tuple[float, Box, str | None]]


def correct(home: Home) -> Corrections:
    """Move, delete, relabel and draw five boxes each."""
    task = Task.upload(exported(home))
    faces = [face for face in visible(home) if face.person]
    ann = [face for face in faces if face.person == ANN]
    bea = [face for face in faces if face.person == BEA]
    assert min(len(ann), len(bea)) >= 10
    expected = {(face.t_s, face.box): face.person for face in visible(home)}
    for face in ann[:5]:
        to = face.box.shifted(*SHIFT)
        task.move(face.box, number_of(face.t_s), to)
        expected[face.t_s, to] = expected.pop((face.t_s, face.box))
    for face in bea[:5]:
        task.delete(face.box, number_of(face.t_s))
        del expected[face.t_s, face.box]
    for face in bea[5:10]:
        task.relabel(face.box, number_of(face.t_s), ANN)
        expected[face.t_s, face.box] = ANN
    sampled = {number_of(face.t_s) for face in faces}
    for face in ann[5:10]:
        # A frame that portraitd has not looked at, and a place where no box is.
        number = next(one for one in range(number_of(face.t_s) + 1, 180) if one not in sampled)
        box = Box(8, 200, 88, 290)
        task.draw(box, number, BEA)
        expected[uneven_times_s()[number], box] = BEA
    return Corrections(task, sorted((*place, person) for place, person in expected.items()))


def approximately(
    found: list[tuple[float, Box, str | None]],
) -> list[tuple[float, Box, str | None]]:
    return [(round(t_s, 3), box, person) for t_s, box, person in found]


def undo_all(home: Home) -> None:
    """Undo each entry that counts, the newest first; or the undos themselves."""
    with home.opened() as service:
        store = Ledger(service.database)
        recorder = EditRecorder(service.database, store, None, whole_tracks=True)
        kinds = {entry.id: entry.kind for entry in store.entries()}
        newest = kinds[store.last_id()]
        undone = store.corrections().undone
        for entry_id, kind in reversed(kinds.items()):
            if entry_id not in undone and (kind == "undo") == (newest == "undo"):
                recorder.record([UndoEntry(entry_id)], 9.0)
        home.run_until_idle(service)


def test_frame_numbers_are_exact_at_an_uneven_frame_rate(home: Home) -> None:
    """Each key has the time of its frame."""
    task = Task.upload(exported(home))

    assert len(uneven_times_s()) == task.frames
    keyed = {
        frame: shape.attributes["face"]
        for track in task.tracks
        for frame, shape in track.keyframes.items()
        if not shape.outside
    }
    assert {number_of(face.t_s) for face in visible(home)} == keyed.keys()
    for frame, key in keyed.items():
        assert round(uneven_times_s()[frame] * 1000) == int(key.split("-")[1])


def test_a_file_without_a_correction_changes_nothing(
    home: Home, command: Import, tmp_path: Path
) -> None:
    """Neither as it was exported, nor as CVAT writes it again."""
    again = Task.upload(exported(home)).export(tmp_path / "task.zip")
    coco = home.settings.dataset_dir / "coco/annotations/instances_train.json"
    before = ledger(home)

    for form, file in (("cvat", exported(home)), ("cvat", again), ("coco", coco)):
        found = command(form, file)
        assert "Nothing to record." == found["answer"]
        assert [] == found["problems"]
        assert 0 < found["unchanged"]
        assert 0 == found["moved"] + found["new"] + found["deleted"] + found["relabelled"]
    assert before == ledger(home)


def test_twenty_corrections_come_back_are_undone_and_survive_a_rebuild(
    home: Home, command: Import, tmp_path: Path
) -> None:
    """All are in the ledger, and a second import of the file records nothing."""
    before, entries = places(home), ledger(home)
    corrected = correct(home)
    file = corrected.task.export(tmp_path / "task.zip")

    tried = command("cvat", file, "--dry-run")
    assert entries == ledger(home)
    done = command("cvat", file)
    home.run()

    assert tried == done | {"answer": ""}
    assert {"moved": 5, "new": 5, "deleted": 5, "relabelled": 5} == {
        word: done[word] for word in ("moved", "new", "deleted", "relabelled")
    }
    assert [] == done["problems"]
    kinds = Counter(ledger(home)[len(entries) :])
    assert {"redraw", "draw", "exclude", "place"} == kinds.keys()
    assert approximately(corrected.expected) == approximately(places(home))
    assert_sound(home.settings)

    repeated = command("cvat", file)
    assert "Nothing to record." == repeated["answer"], repeated

    undo_all(home)
    assert before == places(home)
    undo_all(home)
    assert approximately(corrected.expected) == approximately(places(home))

    with home.opened() as service:
        service.reprocessing.begin(home.now.wall_s)
        home.run_until_idle(service)
    assert approximately(corrected.expected) == approximately(places(home))
    assert_sound(home.settings)
    undo_all(home)
    undo_all(home)
    assert approximately(corrected.expected) == approximately(places(home))


def codes(found: dict[str, Any]) -> Counter[str]:
    return Counter(one["code"] for one in found["problems"])


def without_attributes(task: Task) -> Task:
    """As if the labels of the task had no attributes."""
    for track in task.tracks:
        for shape in track.keyframes.values():
            shape.attributes.clear()
    return task


def test_what_does_not_match_is_listed_and_changes_nothing(
    home: Home, command: Import, tmp_path: Path
) -> None:
    """With the place in the file."""
    task = Task.upload(exported(home))
    task.draw(Box(8, 200, 88, 290), 3, "Eve")
    task.draw(Box(8, 200, 88, 290), 4, "unused-7")
    task.draw(Box(8, 200, 12, 290), 5, ANN)
    task.draw(Box(8, 200, 88, 290), 9_999, ANN)
    task.frames = 10_001
    before = ledger(home)

    found = command("cvat", task.export(tmp_path / "task.zip"))

    assert {"label_unknown": 2, "box_unusable": 1, "frame_unknown": 1} == codes(found)
    assert any("frame 3: Eve" in one["place"] for one in found["problems"])
    assert ("Nothing to record.", before) == (found["answer"], ledger(home))


def test_faces_that_are_missing_without_a_reason_are_kept(
    home: Home, command: Import, tmp_path: Path
) -> None:
    """Without attributes, or where most are missing, they are listed; an option deletes them."""
    (first, *_) = [face for face in visible(home) if face.person]
    task = without_attributes(Task.upload(exported(home)))
    task.delete(first.box, number_of(first.t_s))
    plain = task.export(tmp_path / "plain.zip", "gala.mp4")
    empty = Task.upload(exported(home))
    empty.tracks.clear()
    nothing = empty.export(tmp_path / "empty.zip", "gala.mp4")

    found = command("cvat", plain, "--dry-run")
    assert {"face_missing": 1} == codes(found)
    assert 0 == found["deleted"]
    assert {"face_missing": len(visible(home))} == codes(command("cvat", nothing, "--dry-run"))
    assert "Nothing to record." == command("cvat", plain)["answer"]

    found = command("cvat", plain, "--delete-missing")
    assert (1, []) == (found["deleted"], found["problems"])
    home.run()
    assert first not in visible(home)
    assert "exclude" == ledger(home)[-1]


def test_a_face_that_was_found_after_the_export_is_kept(
    home: Home, command: Import, tmp_path: Path
) -> None:
    """A box that came by another file is not in this one."""
    task = Task.upload(exported(home))
    old = task.export(tmp_path / "old.zip")
    task.draw(Box(8, 200, 88, 290), number_of(visible(home)[0].t_s), ANN)
    command("cvat", task.export(tmp_path / "new.zip"))
    home.run()
    before = places(home)

    found = command("cvat", old)

    assert {"face_newer": 1} == codes(found)
    assert before == places(home)


def test_the_recording_is_found_by_keys_by_name_or_as_it_is_given(
    home: Home, command: Import, tmp_path: Path
) -> None:
    """If nothing says it, or the size is another one, nothing is done."""
    task = without_attributes(Task.upload(exported(home)))
    unnamed = task.export(tmp_path / "unnamed.zip")
    known = task.export(tmp_path / "known.zip", "gala.mp4")
    unchanged = len(visible(home))

    assert {"image_unknown": 1} == codes(command("cvat", unnamed, "--dry-run"))
    for file, options in (
        (known, ()),
        (unnamed, ("--recording", "films/gala.mp4")),
        (unnamed, ("--recording", home.inbox / "films/gala.mp4")),
    ):
        found = command("cvat", file, "--dry-run", *options)
        assert (unchanged, []) == (found["unchanged"], found["problems"])
    task.size = (640, 480)
    wrong = task.export(tmp_path / "wrong.zip", "gala.mp4")
    assert {"size_differs": 1} == codes(command("cvat", wrong, "--dry-run"))


def test_without_its_file_a_recording_gets_no_new_boxes(
    home: Home, command: Import, tmp_path: Path
) -> None:
    """Frame numbers mean nothing without it; of images, what needs no frame is taken over."""
    coco = home.settings.dataset_dir / "coco/annotations/instances_train.json"
    document = json.loads(coco.read_text())
    moved, relabelled = document["annotations"][0], document["annotations"][-1]
    moved["bbox"][0] += 9
    labels = {one["name"]: one["id"] for one in document["categories"]}
    was_ann = relabelled["category_id"] == labels[ANN]
    relabelled["category_id"] = labels[BEA if was_ann else ANN]
    coco_file = tmp_path / "coco.json"
    coco_file.write_text(json.dumps(document))
    task = Task.upload(exported(home)).export(tmp_path / "task.zip")
    (home.inbox / "films/gala.mp4").unlink()

    assert {"frames_unreadable": 1} == codes(command("cvat", task, "--dry-run"))
    found = command("coco", coco_file, "--dry-run")
    assert {"frames_unreadable": 1} == codes(found)
    assert (0, 1) == (found["moved"], found["relabelled"])


def test_images_are_corrected_as_well(home: Home, command: Import, tmp_path: Path) -> None:
    """A label of one image counts for the face in it, the rest of its track stays."""
    coco = home.settings.dataset_dir / "coco/annotations/instances_train.json"
    document = json.loads(coco.read_text())
    moved, deleted, relabelled = document["annotations"][:3]
    image = next(one for one in document["images"] if one["id"] == moved["image_id"])
    moved["bbox"][0] += 9
    labels = {one["name"]: one["id"] for one in document["categories"]}
    relabelled["category_id"] = labels["unknown"]
    document["annotations"].remove(deleted)
    new = {"id": 10**6, "image_id": image["id"], "bbox": [8, 200, 80, 90], "iscrowd": 0}
    document["annotations"].append(new | {"category_id": labels[BEA]})
    path = tmp_path / "corrected.json"
    path.write_text(json.dumps(document))

    found = command("coco", path)
    home.run()

    assert [] == found["problems"]
    assert [1, 1, 1, 1] == [found[one] for one in ("moved", "new", "deleted", "relabelled")]
    t_s = round(image["time_s"], 3)
    here = {face.box: face.person for face in visible(home) if round(face.t_s, 3) == t_s}
    left, top, width, height = moved["bbox"]
    assert here.keys() >= {Box(left, top, left + width, top + height), Box(8, 200, 88, 290)}
    assert BEA == here[Box(8, 200, 88, 290)]
    unsorted = next(face for face in visible(home) if face.id == relabelled["id"])
    assert unsorted.person is None
    assert deleted["id"] not in {face.id for face in visible(home)}


def test_the_running_service_records_what_a_command_asks_for(home: Home, tmp_path: Path) -> None:
    """The command leaves a request; the service reads the boxes and publishes the people."""
    corrected = correct(home)
    file = corrected.task.export(tmp_path / "task.zip")
    plan = plan_import(home.settings, "cvat", file, None, False)
    with home.opened() as service, ThreadPoolExecutor(1) as threads:
        # It holds the lock, as a service does, and ticks while the command waits.
        answer = threads.submit(record, home.settings, plan.edits)
        while not answer.done():
            home.tick(service)
        home.run_until_idle(service)

    assert "Recorded" in answer.result()
    assert approximately(corrected.expected) == approximately(places(home))


def test_a_request_that_is_no_import_is_refused(home: Home) -> None:
    """The service goes on."""
    requests = ControlFiles(home.settings.requests_dir)
    with home.opened() as service:
        texts = "x", "[]", "[[], [[1]]]", '[[["draw", 1, []]], []]', '[[], [["eat", 1, [2]]]]'
        names = [requests.leave(ControlRequest(IMPORT_BOXES, arguments=(text,))) for text in texts]
        home.tick(service)

    for name in names:
        text, is_granted = requests.answer_to(name) or ("", True)
        assert not is_granted
        assert "no edits of an import" in text
