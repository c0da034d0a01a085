"""Compare the original pipeline, portraitd and pure decoding on one clip, alternating in one run.

    uv run benchmarks/encoder.py CLIP [--rounds 3] [--reference-seconds 20] [--set …]
        [--model yunet=FILE]

The reference is the original pipeline that portraitd is based on: one frame per second, reduced to
700 x 500, face_recognition's ``cnn`` detector and embeddings in three threads, DBSCAN with eps 0.5
and min_samples 5, one crop per face. It is slow, so it processes only the first
``--reference-seconds`` of the clip, and its time is scaled to the whole clip.

portraitd is measured end to end, from the file to the finished folders, with running workers. For
decoding, the same workers read every frame of the same slices and do nothing else.

Prints one JSON line: medians in seconds, and medians of the ratios within each round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from portraitd.config import load
from portraitd.faces.models import model_registry
from portraitd.ingest import media_jobs
from portraitd.model.media_file import Slice, Source, Stamp
from portraitd.model.stage import Now
from portraitd.service import log_setup
from portraitd.service.daemon import open_service
from portraitd.service.wakeup import Doorbell
from portraitd.store.slices import cut
from portraitd.workers.job_results import returns
from portraitd.workers.pool import LocalExecutor
from portraitd.workers.process import WorkerLimits

THREADS = 3


def main() -> None:
    arguments = _arguments()
    log_setup.quiet()
    clip: Path = arguments.clip
    facts = media_jobs.probe(_source(clip))
    duration_s = facts.duration_s
    seconds = min(arguments.reference_seconds, duration_s)
    rounds: dict[str, list[float]] = {"reference": [], "portraitd": [], "decoding": []}
    for number in range(arguments.rounds):
        if number < arguments.reference_rounds:
            rounds["reference"].append(reference(clip, seconds) * duration_s / seconds)
        else:
            rounds["reference"].append(rounds["reference"][-1])
        rounds["portraitd"].append(portraitd(clip, arguments.assignments, arguments.models))
        rounds["decoding"].append(decoding(clip, arguments.assignments))
    pairs = list(zip(*rounds.values(), strict=True))
    print(
        json.dumps(
            {
                "clip_s": round(duration_s, 1),
                "size_px": f"{facts.width_px}x{facts.height_px}",
                "settings": arguments.assignments,
                "models": [model.split("=")[0] for model in arguments.models],
                "rounds": arguments.rounds,
                "reference_s": round(statistics.median(rounds["reference"]), 2),
                "reference_measured_on_s": round(seconds, 1),
                "portraitd_s": round(statistics.median(rounds["portraitd"]), 2),
                "decoding_s": round(statistics.median(rounds["decoding"]), 2),
                "times_the_reference": round(statistics.median(a / b for a, b, _ in pairs), 1),
                "times_decoding": round(statistics.median(b / c for _, b, c in pairs), 2),
            }
        )
    )


def reference(clip: Path, seconds: float) -> float:
    """Return the seconds that the original pipeline takes for the first part of a clip."""
    # Imported before the measurement begins; portraitd itself does not need it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import face_recognition
    from sklearn.cluster import DBSCAN

    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(
            pool.map(
                lambda frame: _reference_faces(face_recognition, frame),
                _reference_frames(clip, seconds),
            )
        )
    faces = [face for frame in found for face in frame]
    if faces:
        vectors = np.array([vector for vector, _ in faces])
        labels = DBSCAN(eps=0.5, min_samples=5).fit_predict(vectors)
        with tempfile.TemporaryDirectory() as folder:
            _write_crops(Path(folder), labels, [crop for _, crop in faces])
    return time.perf_counter() - began


def portraitd(clip: Path, assignments: list[str], models: list[str]) -> float:
    """Return the seconds from the file to the finished folders, with running workers."""
    with tempfile.TemporaryDirectory() as home:
        # With the priority of the reference, and without waiting for further files.
        given = ["grouping.settle_s=0", "workers.nice=0", *assignments]
        settings = load(Path(home), None, given)
        for model in models:
            model_registry.add_model(
                model_registry.find_model(model.split("=")[0]),
                settings.models_dir,
                Path(model.split("=")[1]),
            )
        doorbell = Doorbell()
        with open_service(settings, doorbell) as running:
            running.admission.leave_inbox()
            running.dispatcher.warm_up()
            began = time.perf_counter()
            running.admission.register([clip], time.time())
            running.tick(Now.read())
            while not running.idle:
                doorbell.wait(1.0)
                running.tick(Now.read())
            return time.perf_counter() - began


@returns("portraitd.workers.plain_results:NOTHING")
def count_frames(video_slice: Slice, fps: float) -> None:
    """Read every frame of a slice and process none."""
    from portraitd.media import video

    frames = video.SampledFrames(
        video_slice.source, video_slice.kind, video_slice.start_s, video_slice.stop_s, fps
    )
    for _ in frames:
        pass


def decoding(clip: Path, assignments: list[str]) -> float:
    """Return the seconds to read every frame, with as many workers and the same slices."""
    settings = load(None, None, assignments)
    source = _source(clip)
    facts = media_jobs.probe(source)
    slices = [
        Slice(source, facts.kind, start, stop)
        for start, stop in cut(facts, settings.workers.slice_s)
    ]
    executor = LocalExecutor(
        settings.workers.processes, WorkerLimits(nice=0, memory_mb=0, time_limit_s=3600)
    )
    try:
        for future in [executor.submit(count_frames, one, 0.001) for one in slices]:
            future.result()
        began = time.perf_counter()
        for future in [executor.submit(count_frames, one, 1.0) for one in slices]:
            future.result()
        return time.perf_counter() - began
    finally:
        executor.shutdown()


def _reference_frames(clip: Path, seconds: float) -> Iterator[Any]:
    """Yield one frame per second, RGB, no larger than 700 x 500."""
    import cv2

    # Restore OpenCV's default: workers may only read descriptors.
    os.environ.pop("OPENCV_FFMPEG_CAPTURE_OPTIONS", None)
    capture = cv2.VideoCapture(str(clip))
    every = max(1, round(capture.get(cv2.CAP_PROP_FPS)))
    for number in range(int(seconds * every)):
        read, frame = capture.read()
        if not read:
            break
        if number % every == 0:
            scale = min(700 / frame.shape[1], 500 / frame.shape[0], 1.0)
            small = cv2.resize(frame, None, fx=scale, fy=scale)
            yield cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    capture.release()


def _reference_faces(library: Any, frame: Any) -> list[tuple[Any, Any]]:
    boxes = library.face_locations(frame, model="cnn")
    vectors = library.face_encodings(frame, boxes)
    crops = [
        frame[max(0, top - 150) : bottom + 150, max(0, left - 100) : right + 100]
        for top, right, bottom, left in boxes
    ]
    return list(zip(vectors, crops, strict=True))


def _write_crops(folder: Path, labels: Any, crops: list[Any]) -> None:
    import cv2

    for number, (label, crop) in enumerate(zip(labels, crops, strict=True)):
        person = folder / f"Face_{label}"
        person.mkdir(exist_ok=True)
        cv2.imwrite(str(person / f"{number}.jpg"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))


def _source(clip: Path) -> Source:
    status = clip.stat()
    return Source(clip, Stamp(status.st_size, status.st_mtime_ns, status.st_ino))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference-rounds", type=int, default=1)
    parser.add_argument("--reference-seconds", type=float, default=20.0)
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    parser.add_argument("--model", dest="models", action="append", default=[], metavar="NAME=FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
