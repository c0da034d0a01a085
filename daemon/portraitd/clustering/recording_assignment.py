"""Assign what is left over in a recording to the people who are seen in the same recording.

Few people are seen in one recording, so a face there needs less evidence that it is one of them
than a face from anywhere: among ten people a chance similarity is rarer than among a thousand. A
track that no person was near enough to, or a person of a single track, joins the person of its
recording whose centre is nearest, within a wider limit, if the next person of the recording is
clearly farther away.

This is redone for the whole store in every grouping, and depends on nothing but its input. It
moves no centre, so the order does not matter, except that tracks seen in one frame never join the
same person.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.agglomeration import Agglomeration, TrackTable
from portraitd.clustering.assignment import scale_means
from portraitd.clustering.graph_components import Indices
from portraitd.clustering.group_statistics import Floats
from portraitd.clustering.neighbours import squared_distances
from portraitd.model.grouping_rules import RecordingRule

Flags = NDArray[np.bool_]

NO_GROUP = -1
CHUNK_UNITS = 4096


class _Units(NamedTuple):
    """What is left over: single tracks, and people of a single good track with what joined it.

    Attributes:
        rows: Shape ``(u,)``; the track by which each is measured.
        names: Shape ``(u,)``; the person it is now, -1 for none.
    """

    rows: Indices
    names: Indices


def assign_in_recordings(
    people: Indices,
    agglomeration: Agglomeration,
    tracks: TrackTable,
    videos: Indices,
    large: Flags,
    fixed: Flags,
    rule: RecordingRule,
) -> Indices:
    """Return the person of each row after what is left over was assigned.

    Args:
        people: Shape ``(n,)``; the person of each row, named after a row, -1 for none.
        agglomeration: The groups of the good tracks, which founded the people.
        tracks: The tracks of the grouping.
        videos: Shape ``(n,)``; the recording of each row.
        large: Shape ``(n,)``; whether the group named after a row may be joined.
        fixed: Shape ``(n,)``; rows that stay as they are, and whose person does.
        rule: How near a person must be.
    """
    inside = np.flatnonzero(people >= 0)
    inside = inside[large[people[inside]]]
    size = max(len(people), 1)
    # Faster than numpy.unique, which puts most of a million numbers into a hash table.
    keys = np.sort(videos[inside] * size + people[inside])
    keys = keys[np.diff(keys, prepend=-1) > 0]
    seen = np.stack(np.divmod(keys, size), axis=1)
    units = _list_units(people, agglomeration.groups, large, fixed)
    units = _Units(*(part[np.isin(videos[units.rows], seen[:, 0])] for part in units))
    if not len(units.rows):
        return people
    order = np.argsort(videos[units.rows], kind="stable")
    units = _Units(units.rows[order], units.names[order])
    offers = [
        _find_offers(
            _Units(*(part[start : start + CHUNK_UNITS] for part in units)),
            seen,
            agglomeration,
            tracks,
            videos,
            rule,
        )
        for start in range(0, len(units.rows), CHUNK_UNITS)
    ]
    unit_rows, unit_names, targets, squares = (
        np.concatenate(part) for part in zip(*offers, strict=True)
    )
    order = np.lexsort((unit_rows, squares))
    return _accept(people, unit_rows[order], unit_names[order], targets[order], tracks.cannot_link)


def _list_units(people: Indices, founded: Indices, large: Flags, fixed: Flags) -> _Units:
    """List what is left over; a person with a fixed row stays."""
    sizes = np.bincount(founded[founded >= 0], minlength=len(people))
    sole = (people >= 0) & (founded == people) & (sizes[people] == 1) & ~large[people]
    sole &= ~np.isin(people, people[fixed & (people >= 0)])
    rows = np.flatnonzero(((people < 0) & ~fixed) | sole)
    return _Units(rows, people[rows])


def _find_offers(
    units: _Units,
    seen: Indices,
    agglomeration: Agglomeration,
    tracks: TrackTable,
    videos: Indices,
    rule: RecordingRule,
) -> tuple[Indices, Indices, Indices, Floats]:
    """Return the units that may join a person: row, name now, person, and squared distance.

    Args:
        units: By ascending recording.
        seen: Shape ``(s, 2)``; recordings and the people in them, ascending.
        agglomeration: As for ``assign_in_recordings``.
        tracks: The tracks of the grouping.
        videos: Shape ``(n,)``.
        rule: As for ``assign_in_recordings``.
    """
    recordings = videos[units.rows]
    starts = np.searchsorted(seen[:, 0], recordings)
    counts = np.searchsorted(seen[:, 0], recordings, side="right") - starts
    firsts = np.cumsum(counts) - counts
    unit = np.arange(len(units.rows)).repeat(counts)
    person = seen[starts.repeat(counts) + np.arange(counts.sum()) - firsts.repeat(counts), 1]
    groups, group = np.unique(person, return_inverse=True)
    at = np.searchsorted(agglomeration.names, groups)
    statistics = agglomeration.statistics
    squares = squared_distances(
        scale_means(np.asarray(tracks.vectors[units.rows]), tracks.variances[units.rows]),
        unit,
        scale_means(statistics.means[at], statistics.variances[at]),
        group,
    )
    order = np.lexsort((person, squares, unit))
    distances = np.sqrt(squares[order])
    nearest = distances[firsts]
    # The person after the nearest one, if the recording shows another.
    following = np.full(len(counts), np.inf)
    following[counts > 1] = distances[firsts[counts > 1] + 1]
    joins = (nearest <= rule.max_distance) & (following - nearest >= rule.min_gap)
    best = order[firsts[joins]]
    return units.rows[joins], units.names[joins], person[best], squares[best]


def _accept(
    people: Indices, rows: Indices, names: Indices, targets: Indices, cannot_link: Indices
) -> Indices:
    """Accept offers in their order, unless the person was seen beside one of the tracks."""
    after = people.copy()
    members: defaultdict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero((people >= 0) & np.isin(people, names[names >= 0])).tolist():
        members[int(people[row])].append(row)
    moving = np.zeros(len(people), dtype=np.bool_)
    moving[rows] = True
    moving[[row for some in members.values() for row in some]] = True
    beside: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in cannot_link[moving[cannot_link].any(axis=1)].tolist():
        beside[one].append(other)
        beside[other].append(one)
    for row, name, target in zip(rows.tolist(), names.tolist(), targets.tolist(), strict=True):
        some = members[name] if name >= 0 else [row]
        if all(after[other] != target for one in some for other in beside[one]):
            after[some] = target
    return after
