"""What one coordinator can feed: a simulation with measured service times.

    python benchmarks/scaling.py                  # a table, for shared files and for sent ones
    python benchmarks/scaling.py --plot /tmp/scaling.png
    python benchmarks/scaling.py --core-speed 4.2 --hand-out-ms 3 --record-ms 9

Each slice takes the same way as in portraitd: the coordinator claims it and hands it out (one
thing at a time, as one process does), its file's share goes over the wire where files are sent,
a core works on it, the answer comes back over the wire, the coordinator checks and records it.
A worker has one slice ahead of each it works on. The measured times are the defaults; take your
own from ``cluster.py``.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

CORES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


# Measured with ``cluster.py`` and ``encoder.py``; docs/scaling.md says on what.
CORE_SPEED = 4.0
FAST_CORE_SPEED = 18.0
HAND_OUT_MS = 1.5
RECORD_MS = 17.0
BYTES_BACK = 1_800_000.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured.

    Attributes:
        core_speed: Seconds of footage that one core gets through in a second.
        slice_s: Seconds of footage in a slice.
        hand_out_s: The coordinator's time to claim a slice and hand it out.
        record_s: Its time to take an answer back, check it and record it.
        bytes_out: Sent with each slice; 0 where workers see the files.
        bytes_back: Of an answer.
        wire_bytes_per_s: What the coordinator's network carries in one direction.
        spread: Standard deviation of a slice's time, as a share of its mean.
    """

    core_speed: float
    slice_s: float
    hand_out_s: float
    record_s: float
    bytes_out: float
    bytes_back: float
    wire_bytes_per_s: float
    spread: float = 0.3

    @property
    def work_s(self) -> float:
        """A core's time for a slice."""
        return self.slice_s / self.core_speed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cluster came to.

    Attributes:
        cores: How many worked.
        slices_per_s: In the middle of the run, without its beginning and end.
        share: Of what the cores could do if they never waited.
        busy: Share of time that the coordinator's one process was at work.
    """

    cores: int
    slices_per_s: float
    share: float
    busy: float


class Line:
    """Something that does one thing at a time, in order: the coordinator, the wire out or back."""

    def __init__(self) -> None:
        self._free_s = 0.0
        self.busy_s = 0.0

    def pass_through(self, now_s: float, takes_s: float) -> float:
        """When something is through that comes now."""
        self._free_s = max(self._free_s, now_s) + takes_s
        self.busy_s += takes_s
        return self._free_s


def simulate(costs: Costs, cores: int, slices_per_core: int = 40, seed: int = 1) -> Outcome:
    """Let slices run through a cluster until each core has had its share."""
    chance = random.Random(seed)
    coordinator, out, back = Line(), Line(), Line()
    # What is ready for a core, and the time from which on a core waits for it.
    ready: list[deque[float]] = [deque() for _ in range(cores)]
    idle_since: list[float | None] = [0.0] * cores
    events: list[tuple[float, int, str, int]] = []
    total, given, number = slices_per_core * cores, 0, 0
    recorded: list[float] = []

    def put(at_s: float, what: str, core: int) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (at_s, number, what, core))

    def give(now_s: float, core: int) -> None:
        nonlocal given
        if given < total:
            given += 1
            put(coordinator.pass_through(now_s, costs.hand_out_s), "handed out", core)

    def work(now_s: float, core: int) -> None:
        ready[core].popleft()
        idle_since[core] = None
        shape = 1 / costs.spread**2
        put(now_s + chance.gammavariate(shape, costs.work_s / shape), "worked", core)

    for _ in range(2):
        for core in range(cores):
            give(0.0, core)
    while events:
        now_s, _, what, core = heapq.heappop(events)
        match what:
            case "handed out":
                takes_s = costs.bytes_out / costs.wire_bytes_per_s
                put(out.pass_through(now_s, takes_s), "arrived", core)
            case "arrived":
                ready[core].append(now_s)
                if idle_since[core] is not None:
                    work(now_s, core)
            case "worked":
                takes_s = costs.bytes_back / costs.wire_bytes_per_s
                put(back.pass_through(now_s, takes_s), "came back", core)
                idle_since[core] = now_s
                if ready[core]:
                    work(now_s, core)
            case "came back":
                put(coordinator.pass_through(now_s, costs.record_s), "recorded", core)
            case "recorded":
                recorded.append(now_s)
                give(now_s, core)
    begun, ended = recorded[total // 5], recorded[4 * total // 5]
    rate = (4 * total // 5 - total // 5) / (ended - begun)
    return Outcome(cores, rate, rate * costs.work_s / cores, coordinator.busy_s / recorded[-1])


def main() -> None:
    """Print a table for each way to the files; draw it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core-speed", type=float, default=CORE_SPEED)
    parser.add_argument("--fast-core-speed", type=float, default=FAST_CORE_SPEED)
    parser.add_argument("--hand-out-ms", type=float, default=HAND_OUT_MS)
    parser.add_argument("--record-ms", type=float, default=RECORD_MS)
    parser.add_argument("--bytes-back", type=float, default=BYTES_BACK)
    parser.add_argument("--video-mbit", type=float, default=8.0, help="of the footage itself")
    parser.add_argument("--wire-mbit", type=float, default=1000.0)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    shared = Costs(
        core_speed=given.core_speed,
        slice_s=60.0,
        hand_out_s=given.hand_out_ms / 1000,
        record_s=given.record_ms / 1000,
        bytes_out=0.0,
        bytes_back=given.bytes_back,
        wire_bytes_per_s=given.wire_mbit * 125_000,
    )
    sent = {"bytes_out": given.video_mbit * 125_000 * 60.0}
    cases = {
        "MMOD, files shared": shared,
        "MMOD, files sent": replace(shared, **sent),
        "YuNet, files shared": replace(shared, core_speed=given.fast_core_speed),
        "YuNet, files sent": replace(shared, core_speed=given.fast_core_speed, **sent),
    }
    results = {name: [simulate(costs, cores) for cores in CORES] for name, costs in cases.items()}
    for name, outcomes in results.items():
        costs = cases[name]
        print(f"{name}, {costs.work_s:.1f} s a slice")
        for outcome in outcomes:
            print(
                f"{outcome.cores:6} cores {outcome.slices_per_s:9.2f} slices/s "
                f"{outcome.slices_per_s * costs.slice_s:8.0f} cameras in real time "
                f"{100 * outcome.share:5.1f} % of the cores' speed, "
                f"coordinator {100 * outcome.busy:5.1f} % busy"
            )
    if given.plot:
        draw(results, given.plot)


def draw(results: dict[str, list[Outcome]], path: Path) -> None:
    """Speed over cores, both in powers of ten."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    for name, outcomes in results.items():
        axes.loglog(
            [outcome.cores for outcome in outcomes],
            [outcome.slices_per_s for outcome in outcomes],
            marker="o",
            label=name,
        )
    axes.set_xlabel("cores")
    axes.set_ylabel("slices of 60 s, per second")
    axes.legend()
    axes.grid(True, which="both", alpha=0.3)
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
