"""People outlive clusterings: which known person each new group continues.

A grouping gives groups without names. People own what they were shown with, so a group is
matched to the person with whom it shares most. What somebody said by hand beats what a
grouping thinks: a named person never disappears into another, and what was pinned stays.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.graph_components import Indices
from portraitd.model.person import CarriedOver

NOBODY = 0
NO_GROUP = -1


def carry_over(
    groups: Indices,
    previous: Indices,
    faces: Indices,
    next_id: int,
    *,
    kept: Collection[int] = (),
    pinned: Indices | None = None,
    aside: NDArray[np.bool_] | None = None,
) -> CarriedOver:
    """Match new groups to known people by the faces they share.

    The pair that shares most is matched first, and each side is used once, so a person who
    splits keeps their id on the larger part, and the older id wins a tie. Three things go
    before that: a group with tracks that somebody pinned belongs to that person; kept people
    are matched before the others, so a name outlives a merge; and where a group holds the
    tracks of several kept people, each leaves it with those they had.

    Args:
        groups: Shape ``(n,)``; this grouping' group of each track, -1 for none.
        previous: Shape ``(n,)``; the person each track belonged to, 0 for nobody.
        faces: Shape ``(n,)``; how many faces each track stands for.
        next_id: The lowest id never used; new people are numbered from here.
        kept: People with a name, or locked.
        pinned: Shape ``(n,)``; the person somebody put the track with, 0 for nobody.
        aside: Shape ``(n,)``; tracks of which somebody said that they are nobody known.

    Raises:
        ValueError: If the arrays differ in length, or an id is not below ``next_id``.
    """
    pinned = np.zeros_like(previous) if pinned is None else pinned
    if not len(groups) == len(previous) == len(faces) == len(pinned):
        raise ValueError("groups, previous, faces and pinned must have one entry per track")
    if max(previous.max(initial=0), pinned.max(initial=0), *kept, 0) >= next_id:
        raise ValueError("next_id must be above every id in use")

    person_of_group: dict[int, int] = {}
    # What was pinned says where it is, and no longer where it was.
    for votes, first in ((pinned, ()), (np.where(pinned, NOBODY, previous), kept)):
        _match(person_of_group, _shared(groups, votes, faces), first)
    newborn = _first_seen(groups, person_of_group)
    person_of_group |= {group: next_id + order for order, group in enumerate(newborn)}

    people = np.where(pinned, pinned, _looked_up(groups, person_of_group))
    _keep(people, np.where(pinned, NOBODY, previous), kept)
    if aside is not None:
        people[aside] = NOBODY

    gone = np.setdiff1d(previous[previous > 0], people)
    heirs = _majority(of=previous, to=people, faces=faces)
    parents = _majority(of=people, to=previous, faces=faces)
    return CarriedOver(
        people=people,
        merged_into={one: heirs[one] for one in gone.tolist() if one in heirs},
        split_from={
            one: parents[one] for one in range(next_id, next_id + len(newborn)) if one in parents
        },
        churn=int(faces[(previous > 0) & (people != previous)].sum()),
        names_lost=tuple(one for one in gone.tolist() if one in set(kept)),
        next_id=next_id + len(newborn),
    )


def _shared(groups: Indices, people: Indices, faces: Indices) -> Indices:
    """Shape ``(k, 3)``: group, person, and the faces they share, where there are any."""
    both = (groups >= 0) & (people > 0)
    return _counted(groups[both], people[both], faces[both])


def _counted(left: Indices, right: Indices, faces: Indices) -> Indices:
    base = int(right.max(initial=0)) + 1
    keys, inverse = np.unique(left * base + right, return_inverse=True)
    counts = np.zeros(len(keys), dtype=np.int64)
    np.add.at(counts, inverse, faces)
    return np.stack([*np.divmod(keys, base), counts], axis=1)


def _match(person_of_group: dict[int, int], shared: Indices, first: Collection[int]) -> None:
    """Add matches, most shared first, people in ``first`` before all others."""
    later = ~np.isin(shared[:, 1], list(first))
    taken = set(person_of_group.values())
    for row in np.lexsort((shared[:, 0], shared[:, 1], -shared[:, 2], later)).tolist():
        group, person = int(shared[row, 0]), int(shared[row, 1])
        if group not in person_of_group and person not in taken:
            person_of_group[group] = person
            taken.add(person)


def _first_seen(groups: Indices, matched: Collection[int]) -> list[int]:
    """Groups without a person, in the order of their first tracks."""
    names, first = np.unique(groups, return_index=True)
    unmatched = ~np.isin(names, [*matched, NO_GROUP])
    ordered = names[unmatched][np.argsort(first[unmatched])]
    return [int(group) for group in ordered]


def _looked_up(groups: Indices, person_of_group: dict[int, int]) -> Indices:
    people = np.full(int(groups.max(initial=-1)) + 2, NOBODY, dtype=np.int64)
    people[list(person_of_group)] = list(person_of_group.values())
    # The last entry answers for -1: no group, nobody.
    people[-1] = NOBODY
    found: Indices = people[groups]
    return found


def _keep(people: Indices, previous: Indices, kept: Collection[int]) -> None:
    """Give kept people who were left with nothing their tracks back."""
    empty = np.isin(previous, list(kept)) & (previous > 0) & ~np.isin(previous, people)
    people[empty] = previous[empty]


def _majority(of: Indices, to: Indices, faces: Indices) -> dict[int, int]:
    """For each person in ``of`` the one in ``to`` who shares most; the older on a tie."""
    both = (of > 0) & (to > 0) & (of != to)
    shared = _counted(of[both], to[both], faces[both])
    order = np.lexsort((shared[:, 1], -shared[:, 2], shared[:, 0]))
    people, first = np.unique(shared[order, 0], return_index=True)
    return dict(zip(people.tolist(), shared[order[first], 1].tolist(), strict=True))
