"""Measure what it costs to send the answers of workers as plain data, and to check them.

    uv run benchmarks/answers.py CLIP [--set encoder.detector=yunet] [--model yunet=FILE]

Encodes a clip in this process, as workers do, and then sends the answers there and back: as the
schemas of the jobs do, and as pickles. Prints one JSON line. All times are processor time.
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from portraitd.config import load
from portraitd.faces.models import model_registry
from portraitd.ingest import media_jobs
from portraitd.ingest.dispatcher import encode_options
from portraitd.model.media_file import Slice, Source, Stamp
from portraitd.service import log_setup
from portraitd.store.slices import cut
from portraitd.workers.job_results import schema_of

REPEATS = 100


def main() -> None:
    arguments = _arguments()
    log_setup.quiet()
    source = Source(arguments.clip.absolute(), Stamp.of(arguments.clip.stat()))
    with tempfile.TemporaryDirectory() as home:
        settings = load(Path(home), None, arguments.assignments)
        for model in arguments.models:
            name, _, file = model.partition("=")
            model_registry.add_model(
                model_registry.find_model(name), settings.models_dir, Path(file)
            )
        options = encode_options(settings)
        media_jobs.warm_up(options.encoder)
        hash_s = _measure(lambda: media_jobs.hash_content(source))
        facts = media_jobs.probe(source)
        pieces = [
            Slice(source, facts.kind, start_s, stop_s, facts.sha256)
            for start_s, stop_s in cut(facts, settings.workers.slice_s)
        ]
        began_s = time.process_time()
        answers = [media_jobs.encode(piece, options) for piece in pieces]
        encode_s = time.process_time() - began_s
    schema = schema_of(media_jobs.encode)

    def as_plain_data() -> None:
        for piece, answer in zip(pieces, answers, strict=True):
            schema.decode(schema.encode(1, answer), 1, (piece, options), {})

    def as_pickles() -> None:
        for answer in answers:
            pickle.loads(pickle.dumps(answer))

    plain_s, pickle_s = _measure(as_plain_data), _measure(as_pickles)
    print(
        json.dumps(
            {
                "clip_s": round(facts.duration_s, 1),
                "settings": arguments.assignments,
                "faces": sum(len(answer.detections) for answer in answers),
                "kilobytes": round(sum(len(schema.encode(1, one)) for one in answers) / 1000),
                "encode_s": round(encode_s, 2),
                "plain_data_ms": round(1000 * plain_s, 2),
                "pickle_ms": round(1000 * pickle_s, 2),
                "second_hash_ms": round(1000 * hash_s, 2),
                "plain_data_share": round(plain_s / encode_s, 5),
                "added_share": round((plain_s - pickle_s + hash_s) / encode_s, 5),
            }
        )
    )


def _measure(function: Callable[[], object]) -> float:
    """Return the processor time of one call, in seconds; one alone is shorter than a tick."""
    function()
    began_s = time.process_time()
    for _ in range(REPEATS):
        function()
    return (time.process_time() - began_s) / REPEATS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    parser.add_argument("--model", dest="models", action="append", default=[], metavar="NAME=FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
