"""Measure whether the order in which videos are dropped affects how people are grouped.

    uv run benchmarks/orders.py FOLDER_OR_FILE... [--orders 20] [--named 5] [--set …]
        [--model yunet=FILE]

Each order runs in its own home folder: the files are dropped one by one, and a real service
encodes, tracks, groups and publishes each before the next one is dropped. Each slice is encoded
only once; later orders reuse the result. After two files the folders with most faces get names, as
if by a user who knows the people: one folder of each person, and none that holds several people.
The true people are those of one more order without names.

Prints one JSON line. ``pair_f`` is the pairwise F of the final partitions of two orders over all
faces; a face without a person counts as alone. ``named_changed`` counts named people of whose
faces, after any later grouping, another person had more than they. ``names_lost`` and
``twice_in_a_frame`` are sums over all groupings.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from portraitd.config import Settings, load
from portraitd.faces.models import model_registry
from portraitd.ingest import media_jobs
from portraitd.model.stage import Now
from portraitd.service import log_setup
from portraitd.service.executors import Executors
from portraitd.service.home import make_home
from portraitd.service.pipeline import Service
from portraitd.service.wakeup import Doorbell
from portraitd.store.database import Database
from portraitd.workers.pool import InlineExecutor

NAMED_AFTER = 2
"""Number of files after which people get their names."""

START_S = 1_000_000_000.0

FaceKey = tuple[str, float, int, int, int, int]
"""Content hash, time and box of a face, which are the same in every home folder."""

Partition = dict[FaceKey, int]


class OrderResult(NamedTuple):
    """The result of one order."""

    people: Partition
    present: int
    named: int
    named_changed: int
    names_lost: int
    violations: int
    churn: int


class CachingExecutor(Executor):
    """Runs jobs inline; probes each file and encodes each slice only once."""

    def __init__(self) -> None:
        self._inline = InlineExecutor()
        # By file or slice alone: the settings differ only in the home folder.
        self._results: dict[object, Future[Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See ``Executor.submit``; errors are cached, too."""
        if fn not in (media_jobs.probe, media_jobs.encode):
            return self._inline.submit(fn, *args, **kwargs)
        if args[0] not in self._results:
            self._results[args[0]] = self._inline.submit(fn, *args, **kwargs)
        return self._results[args[0]]


def main() -> None:
    arguments = _arguments()
    log_setup.quiet()
    files = list(_files(arguments.sources))
    random = np.random.default_rng(arguments.seed)
    orders = [random.permutation(len(files)) for _ in range(arguments.orders)]
    executor = CachingExecutor()

    def run_order(order: Iterable[int], known: Partition) -> OrderResult:
        with tempfile.TemporaryDirectory(prefix="portraitd-") as home:
            settings = load(Path(home), None, [*arguments.assignments, "grouping.settle_s=0"])
            in_order = [files[number] for number in order]
            return drop(in_order, settings, executor, arguments, known)

    known = run_order(range(len(files)), {}).people if arguments.named else {}
    outcomes = [run_order(order.tolist(), known) for order in orders]
    scores = [
        pairwise_f(one.people, other.people) for one, other in itertools.combinations(outcomes, 2)
    ]
    print(
        json.dumps(
            {
                "orders": len(orders),
                "files": len(files),
                "faces": len(outcomes[0].people),
                "pair_f_min": round(min(scores, default=1.0), 5),
                "pair_f_mean": round(statistics.mean(scores), 5) if scores else 1.0,
                "people": sorted({outcome.present for outcome in outcomes}),
                "named": sum(outcome.named for outcome in outcomes),
                "named_changed": sum(outcome.named_changed for outcome in outcomes),
                "names_lost": sum(outcome.names_lost for outcome in outcomes),
                "twice_in_a_frame": sum(outcome.violations for outcome in outcomes),
                "churn_per_order": statistics.mean(outcome.churn for outcome in outcomes),
                "settings": arguments.assignments,
            }
        )
    )


def drop(
    files: Sequence[Path],
    settings: Settings,
    executor: Executor,
    arguments: argparse.Namespace,
    known: Partition,
) -> OrderResult:
    """Drop files one by one into a new home folder, with a grouping after each.

    Args:
        files: In the order to drop.
        settings: Settings of the home folder.
        executor: Runs the jobs.
        arguments: From the command line.
        known: The true person of each face, for naming; empty to name no one.
    """
    make_home(settings)
    for name, path in arguments.models:
        model_registry.add_model(model_registry.find_model(name), settings.models_dir, path)
    named: dict[int, set[FaceKey]] = {}
    changed: set[int] = set()
    lost = violations = churn = 0
    with closing(Database.open(settings.state_dir)) as database:
        service = Service(settings, database, Executors(executor, 1), Doorbell())
        service.admission.leave_inbox()
        clock = itertools.count()
        for number, path in enumerate(files, start=1):
            service.admission.register([path], START_S + next(clock))
            _tick_until_idle(service, clock)
            grouping_run = service.people.last_grouping_run()
            if grouping_run:
                lost, churn = lost + grouping_run.names_lost, churn + grouping_run.churn
                violations += grouping_run.violations
            people = partition(service)
            changed |= {person for person, had in named.items() if not _keeps(person, had, people)}
            if number == NAMED_AFTER and known:
                named = _name_the_largest(settings.people_dir, people, known, arguments.named)
                service.review.wake()
                _tick_until_idle(service, clock)
                assert len(named) == len(service.people.kept())
        present = len(service.people.present())
    return OrderResult(people, present, len(named), len(changed), lost, violations, churn)


def _tick_until_idle(service: Service, clock: Iterator[int]) -> None:
    service.tick(Now(START_S + next(clock), float(next(clock))))
    while not service.idle:
        service.tick(Now(START_S + next(clock), float(next(clock))))


def partition(service: Service) -> Partition:
    """Return the person of every face, 0 for none."""
    return {
        (face.sha256, round(face.t_s, 4), *face.box): face.person_id or 0
        for face in service.faces.listing()
    }


def pairwise_f(one: Partition, other: Partition) -> float:
    """Return the pairwise F score of two partitions of the same faces."""
    assert one.keys() == other.keys()
    left = [one[place] or ("alone", place) for place in one]
    right = [other[place] or ("alone", place) for place in one]
    both, ours, theirs = (
        _count_pairs(Counter(labels)) for labels in (zip(left, right, strict=True), left, right)
    )
    return 2 * both / (ours + theirs) if ours + theirs else 1.0


def _count_pairs(sizes: Counter[Any]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())


def _keeps(person: int, had: set[FaceKey], people: Partition) -> bool:
    """Return whether no one has more of these faces than the person who had them."""
    shares = Counter(people[place] for place in had)
    return shares[person] == max(shares.values())


def _name_the_largest(
    people_dir: Path, people: Partition, known: Partition, count: int
) -> dict[int, set[FaceKey]]:
    """Rename folders, as users do; return the faces that each named person has now."""
    faces: dict[int, set[FaceKey]] = {}
    for place, person in people.items():
        faces.setdefault(person, set()).add(place)
    named: dict[int, int] = {}
    for person in sorted(faces, key=lambda one: (-len(faces[one]), one)):
        shown = {known[place] for place in faces[person]}
        if person and len(shown) == 1 and not shown & {0, *named.values()} and len(named) < count:
            named[person] = shown.pop()
            (people_dir / f"person-{person:04d}").rename(people_dir / f"name {person}")
    return {person: faces[person] for person in named}


def _files(sources: Sequence[Path]) -> Iterator[Path]:
    for source in sources:
        if source.is_dir():
            yield from sorted(path for path in source.rglob("*") if path.is_file())
        else:
            yield source


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, nargs="+", metavar="FOLDER_OR_FILE")
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--named", type=int, default=5, help="number of people to name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="K=V")
    parser.add_argument("--model", dest="models", action="append", type=_model, default=[])
    return parser.parse_args()


def _model(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path)


if __name__ == "__main__":
    main()
