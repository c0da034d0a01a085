"""Simulate how many cores one coordinator can keep busy, with measured service times.

    python benchmarks/scaling.py                  # tables, for shared and for sent files
    python benchmarks/scaling.py --plot /tmp/scaling.png
    python benchmarks/scaling.py --core-speed 4.2 --hand-out-ms 3 --record-ms 9

Each slice takes the same steps as in portraitd: the coordinator, a single process, claims and
submits it; its share of the file goes over the network if files are sent; a core works on it; the
result comes back over the network; the coordinator checks and records it. Each core has one slice
in advance. The defaults are measured times; measure your own with ``cluster.py``.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

CORES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


# Measured with ``cluster.py`` and ``encoder.py``; docs/scaling.md describes the machine.
CORE_SPEED = 4.0
FAST_CORE_SPEED = 18.0
HAND_OUT_MS = 1.5
RECORD_MS = 17.0
BYTES_BACK = 1_800_000.0


@dataclass(frozen=True, slots=True)
class Costs:
    """The measured costs of a slice.

    Attributes:
        core_speed: Seconds of footage that one core processes in a second.
        slice_s: Seconds of footage in a slice.
        submit_s: The coordinator's time to claim and submit a slice.
        record_s: The coordinator's time to receive, check and record a result.
        bytes_out: Sent with each slice; 0 if workers read shared files.
        bytes_back: Size of a result.
        network_bytes_per_s: Bandwidth of the coordinator's network in one direction.
        deviation: Standard deviation of a slice's time, as a fraction of its mean.
    """

    core_speed: float
    slice_s: float
    submit_s: float
    record_s: float
    bytes_out: float
    bytes_back: float
    network_bytes_per_s: float
    deviation: float = 0.3

    @property
    def work_s(self) -> float:
        """Seconds that a core takes for a slice."""
        return self.slice_s / self.core_speed


@dataclass(frozen=True, slots=True)
class ClusterResult:
    """The throughput of a cluster.

    Attributes:
        cores: Number of cores.
        slices_per_s: In the middle of the run, without its beginning and end.
        share: Fraction of the throughput of cores that never wait.
        busy: Fraction of the time that the coordinator's process was busy.
    """

    cores: int
    slices_per_s: float
    share: float
    busy: float


class SerialQueue:
    """Serves one item at a time, in order: the coordinator, or one direction of the network."""

    def __init__(self) -> None:
        self._free_s = 0.0
        self.busy_s = 0.0

    def pass_through(self, now_s: float, takes_s: float) -> float:
        """Return the time at which an item that arrives now is done."""
        self._free_s = max(self._free_s, now_s) + takes_s
        self.busy_s += takes_s
        return self._free_s


def simulate(costs: Costs, cores: int, slices_per_core: int = 40, seed: int = 1) -> ClusterResult:
    """Run slices through a cluster until each core has had its share."""
    chance = random.Random(seed)
    coordinator, out, back = SerialQueue(), SerialQueue(), SerialQueue()
    # The slices that are ready for each core, and the time since which it has been idle.
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
            put(coordinator.pass_through(now_s, costs.submit_s), "submitted", core)

    def work(now_s: float, core: int) -> None:
        ready[core].popleft()
        idle_since[core] = None
        shape = 1 / costs.deviation**2
        put(now_s + chance.gammavariate(shape, costs.work_s / shape), "worked", core)

    for _ in range(2):
        for core in range(cores):
            give(0.0, core)
    while events:
        now_s, _, what, core = heapq.heappop(events)
        match what:
            case "submitted":
                takes_s = costs.bytes_out / costs.network_bytes_per_s
                put(out.pass_through(now_s, takes_s), "arrived", core)
            case "arrived":
                ready[core].append(now_s)
                if idle_since[core] is not None:
                    work(now_s, core)
            case "worked":
                takes_s = costs.bytes_back / costs.network_bytes_per_s
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
    return ClusterResult(
        cores, rate, rate * costs.work_s / cores, coordinator.busy_s / recorded[-1]
    )


def main() -> None:
    """Print a table for each case, and plot them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core-speed", type=float, default=CORE_SPEED)
    parser.add_argument("--fast-core-speed", type=float, default=FAST_CORE_SPEED)
    parser.add_argument("--hand-out-ms", type=float, default=HAND_OUT_MS)
    parser.add_argument("--record-ms", type=float, default=RECORD_MS)
    parser.add_argument("--bytes-back", type=float, default=BYTES_BACK)
    parser.add_argument("--video-mbit", type=float, default=8.0, help="bit rate of the footage")
    parser.add_argument("--wire-mbit", type=float, default=1000.0)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    shared = Costs(
        core_speed=given.core_speed,
        slice_s=60.0,
        submit_s=given.hand_out_ms / 1000,
        record_s=given.record_ms / 1000,
        bytes_out=0.0,
        bytes_back=given.bytes_back,
        network_bytes_per_s=given.wire_mbit * 125_000,
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
        print(f"{name}, {costs.work_s:.1f} s per slice")
        for outcome in outcomes:
            print(
                f"{outcome.cores:6} cores {outcome.slices_per_s:9.2f} slices/s "
                f"{outcome.slices_per_s * costs.slice_s:8.0f} cameras in real time "
                f"{100 * outcome.share:5.1f} % of the cores' speed, "
                f"coordinator {100 * outcome.busy:5.1f} % busy"
            )
    if given.plot:
        draw(results, given.plot)


def draw(results: dict[str, list[ClusterResult]], path: Path) -> None:
    """Plot throughput against cores, both on logarithmic scales."""
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
