"""Whether the order in which videos are dropped decides who people are.

    uv run benchmarks/orders.py FOLDER_OR_FILE... [--orders 20] [--named 5] [--set …]
        [--model yunet=FILE]

Every order begins with a home of its own: the files are dropped one by one, each is looked at,
tracked, grouped and published by a real service before the next one comes. Faces are found once
and handed back wherever the same slice is asked for again. After two files some folders are given
names, those with most faces first, as by somebody who knows the people: one folder of each, and
none that holds several. Who is who is taken from one more order in which nobody is named.

Prints one JSON line. ``pair_f``: of every two orders, the pairwise F of their final partitions
over all faces, a face of nobody being alone. ``named_changed``: named people of whom, after any
later grouping, somebody else had more of the faces they had when they were named. ``names_lost``
and ``twice_in_a_frame`` are sums over all grouping_runs.
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
"""So many files are there when people get their names."""

START_S = 1_000_000_000.0

Place = tuple[str, float, int, int, int, int]
"""A face by what it is in every home: content, time and box."""

Partition = dict[Place, int]


class Outcome(NamedTuple):
    """What one order came to."""

    people: Partition
    present: int
    named: int
    named_changed: int
    names_lost: int
    violations: int
    churn: int


class Remembering(Executor):
    """Runs jobs inline; what was found in a file is found there once."""

    def __init__(self) -> None:
        self._inline = InlineExecutor()
        # By the file or slice alone: the settings differ in the home only.
        self._known: dict[object, Future[Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As an executor does; errors are remembered too."""
        if fn not in (media_jobs.probe, media_jobs.encode):
            return self._inline.submit(fn, *args, **kwargs)
        if args[0] not in self._known:
            self._known[args[0]] = self._inline.submit(fn, *args, **kwargs)
        return self._known[args[0]]


def main() -> None:
    arguments = _arguments()
    log_setup.quiet()
    files = list(_files(arguments.sources))
    random = np.random.default_rng(arguments.seed)
    orders = [random.permutation(len(files)) for _ in range(arguments.orders)]
    executor = Remembering()

    def carried_out(order: Iterable[int], known: Partition) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="portraitd-") as home:
            settings = load(Path(home), None, [*arguments.assignments, "grouping.settle_s=0"])
            in_order = [files[number] for number in order]
            return drop(in_order, settings, executor, arguments, known)

    known = carried_out(range(len(files)), {}).people if arguments.named else {}
    outcomes = [carried_out(order.tolist(), known) for order in orders]
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
) -> Outcome:
    """Drop files one by one into a fresh home, with a grouping after each.

    Args:
        files: In this order.
        settings: Of the home.
        executor: Does the jobs.
        arguments: Of the command line.
        known: Who is who, for those who give names; empty if nobody does.
    """
    make_home(settings)
    for name, path in arguments.models:
        model_registry.add_model(model_registry.find_model(name), settings.models_dir, path)
    named: dict[int, set[Place]] = {}
    changed: set[int] = set()
    lost = violations = churn = 0
    with closing(Database.open(settings.state_dir)) as database:
        service = Service(settings, database, Executors(executor, 1), Doorbell())
        service.admission.leave_inbox()
        clock = itertools.count()
        for number, path in enumerate(files, start=1):
            service.admission.register([path], START_S + next(clock))
            _turn_until_idle(service, clock)
            grouping_run = service.people.last_grouping_run()
            if grouping_run:
                lost, churn = lost + grouping_run.names_lost, churn + grouping_run.churn
                violations += grouping_run.violations
            people = partition(service)
            changed |= {person for person, had in named.items() if not _keeps(person, had, people)}
            if number == NAMED_AFTER and known:
                named = _name_the_largest(settings.people_dir, people, known, arguments.named)
                service.review.wake()
                _turn_until_idle(service, clock)
                assert len(named) == len(service.people.kept())
        present = len(service.people.present())
    return Outcome(people, present, len(named), len(changed), lost, violations, churn)


def _turn_until_idle(service: Service, clock: Iterator[int]) -> None:
    service.tick(Now(START_S + next(clock), float(next(clock))))
    while not service.idle:
        service.tick(Now(START_S + next(clock), float(next(clock))))


def partition(service: Service) -> Partition:
    """The person of every face, 0 for nobody."""
    return {
        (face.sha256, round(face.t_s, 4), *face.box): face.person_id or 0
        for face in service.faces.listing()
    }


def pairwise_f(one: Partition, other: Partition) -> float:
    """F of the pairs of faces that two partitions of the same faces put together."""
    assert one.keys() == other.keys()
    left = [one[place] or ("alone", place) for place in one]
    right = [other[place] or ("alone", place) for place in one]
    both, ours, theirs = (
        _pairs(Counter(labels)) for labels in (zip(left, right, strict=True), left, right)
    )
    return 2 * both / (ours + theirs) if ours + theirs else 1.0


def _pairs(sizes: Counter[Any]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.values())


def _keeps(person: int, had: set[Place], people: Partition) -> bool:
    """Whether nobody has more of these faces than the person who had them."""
    shares = Counter(people[place] for place in had)
    return shares[person] == max(shares.values())


def _name_the_largest(
    people_dir: Path, people: Partition, known: Partition, count: int
) -> dict[int, set[Place]]:
    """Rename folders, as people do; returns the faces that each named person had then."""
    faces: dict[int, set[Place]] = {}
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
    parser.add_argument("--named", type=int, default=5, help="how many people get names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="K=V")
    parser.add_argument("--model", dest="models", action="append", type=_model, default=[])
    return parser.parse_args()


def _model(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path)


if __name__ == "__main__":
    main()
