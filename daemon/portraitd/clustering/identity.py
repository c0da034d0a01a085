"""Keep the identity of people over groupings: decide which known person each group continues.

A grouping returns groups without names. Each group is matched to the person with whom it shares
most faces. User edits come first: a named person never disappears into another, and pinned tracks
stay with their person.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from portraitd.clustering.graph_components import Indices
from portraitd.model.person import CarriedOver

NO_PERSON = 0
NO_GROUP = -1


def carry_over(
    groups: Indices,
    previous: Indices,
    faces: Indices,
    next_id: int,
    *,
    kept: Collection[int] = (),
    pinned: Indices | None = None,
    unsorted: NDArray[np.bool_] | None = None,
) -> CarriedOver:
    """Match new groups to known people by the faces they share.

    The pair that shares most is matched first, and each side is used once, so a person who
    splits keeps their id on the larger part, and the older id wins a tie. Three rules take
    precedence: a group with pinned tracks belongs to the person they are pinned to; kept people
    are matched before the others, so a name survives a merge; and if a group holds the tracks of
    several kept people, those who would get nothing keep the tracks they had.

    Args:
        groups: Shape ``(n,)``; the new group of each track, -1 for none.
        previous: Shape ``(n,)``; the person of each track before, 0 for none.
        faces: Shape ``(n,)``; how many faces each track has.
        next_id: The lowest id that was never used; new people get ids from here on.
        kept: People with a name, or locked.
        pinned: Shape ``(n,)``; the person a user assigned the track to, 0 for none.
        unsorted: Shape ``(n,)``; tracks that a user took away from all people.

    Raises:
        ValueError: If the arrays differ in length, or an id is not below ``next_id``.
    """
    pinned = np.zeros_like(previous) if pinned is None else pinned
    if not len(groups) == len(previous) == len(faces) == len(pinned):
        raise ValueError("groups, previous, faces and pinned must have one entry per track")
    if max(previous.max(initial=0), pinned.max(initial=0), *kept, 0) >= next_id:
        raise ValueError("next_id must be above every id in use")

    person_of_group: dict[int, int] = {}
    # A pinned track votes for the person it is pinned to, and no longer for its previous one.
    for votes, first in ((pinned, ()), (np.where(pinned, NO_PERSON, previous), kept)):
        _match_groups(person_of_group, _count_shared(groups, votes, faces), first)
    newborn = _list_unmatched(groups, person_of_group)
    person_of_group |= {group: next_id + order for order, group in enumerate(newborn)}

    people = np.where(pinned, pinned, _look_up(groups, person_of_group))
    _restore_kept(people, np.where(pinned, NO_PERSON, previous), kept)
    if unsorted is not None:
        people[unsorted] = NO_PERSON

    vanished = np.setdiff1d(previous[previous > 0], people)
    heirs = _find_majorities(of=previous, to=people, faces=faces)
    parents = _find_majorities(of=people, to=previous, faces=faces)
    return CarriedOver(
        people=people,
        merged_into={one: heirs[one] for one in vanished.tolist() if one in heirs},
        split_from={
            one: parents[one] for one in range(next_id, next_id + len(newborn)) if one in parents
        },
        churn=int(faces[(previous > 0) & (people != previous)].sum()),
        names_lost=tuple(one for one in vanished.tolist() if one in set(kept)),
        next_id=next_id + len(newborn),
    )


def _count_shared(groups: Indices, people: Indices, faces: Indices) -> Indices:
    """Shape ``(k, 3)``: group, person, and how many faces they share, if any."""
    both = (groups >= 0) & (people > 0)
    return _count_faces(groups[both], people[both], faces[both])


def _count_faces(left: Indices, right: Indices, faces: Indices) -> Indices:
    base = int(right.max(initial=0)) + 1
    keys, inverse = np.unique(left * base + right, return_inverse=True)
    counts = np.zeros(len(keys), dtype=np.int64)
    np.add.at(counts, inverse, faces)
    return np.stack([*np.divmod(keys, base), counts], axis=1)


def _match_groups(person_of_group: dict[int, int], shared: Indices, first: Collection[int]) -> None:
    """Add matches, those that share most first, people in ``first`` before all others."""
    later = ~np.isin(shared[:, 1], list(first))
    taken = set(person_of_group.values())
    for row in np.lexsort((shared[:, 0], shared[:, 1], -shared[:, 2], later)).tolist():
        group, person = int(shared[row, 0]), int(shared[row, 1])
        if group not in person_of_group and person not in taken:
            person_of_group[group] = person
            taken.add(person)


def _list_unmatched(groups: Indices, matched: Collection[int]) -> list[int]:
    """Return the groups without a person, in the order of their first tracks."""
    names, first = np.unique(groups, return_index=True)
    unmatched = ~np.isin(names, [*matched, NO_GROUP])
    ordered = names[unmatched][np.argsort(first[unmatched])]
    return [int(group) for group in ordered]


def _look_up(groups: Indices, person_of_group: dict[int, int]) -> Indices:
    people = np.full(int(groups.max(initial=-1)) + 2, NO_PERSON, dtype=np.int64)
    people[list(person_of_group)] = list(person_of_group.values())
    # The last entry is read for -1: no group, no person.
    people[-1] = NO_PERSON
    found: Indices = people[groups]
    return found


def _restore_kept(people: Indices, previous: Indices, kept: Collection[int]) -> None:
    """Give their tracks back to kept people who were left with none."""
    empty = np.isin(previous, list(kept)) & (previous > 0) & ~np.isin(previous, people)
    people[empty] = previous[empty]


def _find_majorities(of: Indices, to: Indices, faces: Indices) -> dict[int, int]:
    """Return for each person in ``of`` the one in ``to`` who shares most; the older on a tie."""
    both = (of > 0) & (to > 0) & (of != to)
    shared = _count_faces(of[both], to[both], faces[both])
    order = np.lexsort((shared[:, 1], -shared[:, 2], shared[:, 0]))
    people, first = np.unique(shared[order, 0], return_index=True)
    return dict(zip(people.tolist(), shared[order[first], 1].tolist(), strict=True))
