"""One publish: from what is wanted and what lies there to files on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from portraitd.people.names import is_numbered, safe_name
from portraitd.people.tree.acknowledged import AcknowledgedEdits
from portraitd.people.tree.desired import Shown, Wants
from portraitd.people.tree.folder_fs import digest
from portraitd.people.tree.inventory import FolderLocation, Survey, as_seen, placed, reopened
from portraitd.people.tree.manifest import ROOT_NOTE, FolderManifest, face_of
from portraitd.people.tree.plan import (
    Forget,
    Release,
    Remove,
    RemoveFolder,
    SeenFolder,
    Step,
    WantedFolder,
    Write,
    plan,
    plan_files,
)
from portraitd.people.tree.plan_executor import Carrier, Modes
from portraitd.people.tree.readme import README_NAME, README_TEXT
from portraitd.people.tree.scan import Ground, face_in, locations, names_in
from portraitd.people.tree.tree_snapshot import Home, Lying, scene_of

_ROOT = -2
"""The root itself, as a folder of the plan; the number of no person and of no placement."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did.

    Attributes:
        written: Files written; notes and folders do not count.
        removed: Files removed.
        unchanged: Wanted files that needed no writing.
        portraits: Path of each face's portrait below the root, by the face's id.
        folders: Path of each person's folder below the root, by the person's id.
    """

    written: int
    removed: int
    unchanged: int
    portraits: Mapping[int, str] = field(repr=False)
    folders: Mapping[int, str] = field(repr=False)


class Publish:
    """Carries out one publish in one open root.

    Args:
        root_fd: The root.
        root_note: Its note.
        ground: Everything that lies there.
        survey: Whose it is.
        heard: What of people's edits was read.
        modes: Rights of what is made.
    """

    def __init__(
        self,
        root_fd: int,
        root_note: FolderManifest,
        ground: Ground,
        survey: Survey,
        heard: AcknowledgedEdits,
        modes: Modes,
    ) -> None:
        self._root_fd = root_fd
        self._root_note = root_note
        self._ground = ground
        self._survey = survey
        self._heard = heard
        self._modes = modes

    def carried_out(
        self, everything: Sequence[Shown], wants: Wants, resting: Mapping[int, WantedFolder]
    ) -> Published:
        """Make the tree show these folders.

        Args:
            everything: The folders there should be.
            wants: Made for the places that ``places_for`` gives.
            resting: Of people who have no faces now; see ``plan``.
        """
        places = wants.places
        home_of: dict[int, Home] = {
            face.face_id: one.number for one in everything for face in one.faces
        }
        unread = self._heard.unread(scene_of(self._survey), home_of)
        left = self._survey.gone - self._heard.gone - places.keys()
        left |= {one.number for one in everything if _is_taken_apart(one, places, unread)}
        wants.bring_along([one for one in everything if one.number not in left], unread)
        wanted = {
            one.number: wants.folder(one, unread) for one in everything if one.number not in left
        }
        carrier = Carrier(self._root_fd, places, self._modes, lambda step: _data(step, wants))
        self._publish_readme(carrier)
        seen = {n: self._seen(place, unread) for n, place in places.items() if n not in left}
        taken = {one.location: one.names for one in self._ground.folders}
        steps = plan(wanted, seen, taken, resting)
        kept = wanted.keys() | left
        if places.keys() - kept:
            # First, so that an end in between does not look as if a human had removed them.
            self._remember(kept, self._lying(), carrier)
        left_lying = self._left_lying(places, steps)
        changed = wants.changed | (_update_strays(places, self._heard, left_lying) - left)
        changed |= {number for number in wanted if number in places and _settle(places[number])}
        _carry_out(steps, carrier)
        for number in sorted(changed - carrier.saved):
            if number in carrier.inodes:
                carrier.save_note(number)
        lying = dict(_by_inode(locations(self._root_fd))) if steps else self._lying()
        self._remember(kept, lying, carrier)
        return _published(wanted, lying, carrier)

    def _seen(self, place: FolderLocation, unread: Collection[int]) -> SeenFolder:
        """A place as the plan wants it, without what is left to the next reading."""
        is_heard = (place.number, place.location) in self._heard.moved
        seen = as_seen(place, self._root_fd, is_heard=is_heard)
        waiting = {name for name, face_id in place.portraits.items() if face_id in unread}
        if not waiting:
            return seen
        waiting |= {name.rpartition(".")[0] + ".txt" for name in waiting}
        published = {name: one for name, one in seen.published.items() if name not in waiting}
        return replace(seen, published=published, removable=False)

    def _left_lying(
        self, places: Mapping[int, FolderLocation], steps: Sequence[Step]
    ) -> set[tuple[int, Lying]]:
        """The portraits that a folder is to forget, and that stay because a human made them."""
        left = set()
        for step in steps:
            if isinstance(step, Forget) and step.target in places[step.folder].names:
                with reopened(places[step.folder], self._root_fd) as fd:
                    face_id = face_in(fd, step.target, self._root_note.store)
                if face_id is not None:
                    left.add((step.folder, Lying(face_id, step.target)))
        return left

    def _lying(self) -> dict[int, str]:
        """Where each folder lay when the publish began, by inode."""
        return {folder.inode: folder.location for folder in self._ground.folders[1:]}

    def _publish_readme(self, carrier: Carrier) -> None:
        note = self._root_note
        wanted = {README_NAME: digest(README_TEXT.encode())}
        published = {name: record.identity for name, record in note.files.items()}
        present = carrier.listing(self._root_fd, note, names_in(self._root_fd))
        steps = plan_files(_ROOT, wanted, published, present)
        if steps:
            carrier.change(self._root_fd, ROOT_NOTE, note, steps)

    def _remember(
        self, numbers: Collection[int], lying: Mapping[int, str], carrier: Carrier
    ) -> None:
        """Note which folders there are, and where."""
        homes = {
            number: (lying[inode], inode)
            for number, inode in carrier.inodes.items()
            if number in numbers and inode in lying
        }
        # What is gone and was not read yet is still to be missed.
        for number in self._survey.gone - self._heard.gone - homes.keys():
            homes[number] = self._root_note.homes[number]
        if homes != self._root_note.homes:
            self._root_note.homes = homes
            carrier.save(self._root_fd, ROOT_NOTE, self._root_note)


def places_for(survey: Survey, everything: Sequence[Shown]) -> dict[int, FolderLocation]:
    """Portraitd's own folders, and those people made that are a new person's.

    A folder that became a person's by a word of the store, and has no note yet, has the
    person's name and holds one of their portraits at least.
    """
    places = dict(survey.places)
    for one in everything:
        if one.number <= 0 or one.number in places or one.number in survey.gone:
            continue
        faces = {face.face_id for face in one.faces}
        for folder in survey.nobodys:
            is_named = folder.location and is_numbered(safe_name(folder.name), one.label)
            if is_named and faces & set(folder.pictures.values()):
                places[one.number] = placed(one.number, folder)
                places[one.number].note.label = one.label
                break
    return places


def is_nearly_emptied(survey: Survey, everything: Sequence[Shown], least: int) -> bool:
    """Whether four of five people in the tree would lose their folder, and ``least`` portraits."""
    people = {number: place for number, place in survey.places.items() if number > 0}
    left = sum(one.number in people for one in everything)
    portraits = sum(len(place.portraits) for place in people.values())
    return portraits >= least and left * 5 < len(people)


def _is_taken_apart(
    one: Shown, places: Mapping[int, FolderLocation], unread: Collection[int]
) -> bool:
    """Whether people moved portraits out of a folder, and its note with them or away."""
    place = places.get(one.number)
    is_noted = place is None or place.has_note
    return not is_noted and any(face.face_id in unread for face in one.faces)


def _published(
    wanted: Mapping[int, WantedFolder], lying: Mapping[int, str], carrier: Carrier
) -> Published:
    paths = {
        number: lying[carrier.inodes[number]]
        for number in wanted
        if carrier.inodes.get(number) in lying
    }
    portraits = {}
    for number, path in paths.items():
        faces = {face_of(identity) for identity in wanted[number].files.values()} - {None}
        for name, record in carrier.notes[number].files.items():
            face_id = face_of(record.identity)
            if face_id is not None and face_id in faces:
                portraits[face_id] = f"{path}/{name}"
    return Published(
        written=carrier.written,
        removed=carrier.removed,
        unchanged=1 + sum(len(folder.files) for folder in wanted.values()) - carrier.written,
        portraits=portraits,
        folders={number: path for number, path in paths.items() if number > 0},
    )


def _update_strays(
    places: Mapping[int, FolderLocation],
    heard: AcknowledgedEdits,
    left: Collection[tuple[int, Lying]],
) -> set[int]:
    """Note which portraits lie in a folder beside its own; returns where that is news.

    One that no reading has seen yet may be meant to be there.

    Args:
        left: Those that were its own until now.
    """
    changed = set()
    for number, place in places.items():
        strays = {
            name: face_id
            for name, face_id in place.pictures.items()
            if name not in place.note.files
            and (
                (place.location, Lying(face_id, name)) in heard.arrived or name in place.note.strays
            )
        }
        strays |= {one.name: one.face for at, one in left if at == number}
        if strays != place.note.strays:
            place.note.strays = strays
            changed.add(number)
    return changed


def _settle(place: FolderLocation) -> bool:
    """Make the note that of this folder; whether it was not. So it is for one from a backup."""
    is_settled = place.has_note and place.note.inode == place.inode
    place.note.inode = place.inode
    return not is_settled


def _by_inode(found: Iterable[tuple[str, int]]) -> Iterator[tuple[int, str]]:
    for location, inode in found:
        yield inode, location


def _carry_out(steps: Sequence[Step], carrier: Carrier) -> None:
    """Carry out steps folder by folder; one that may not be written does not stop the others."""
    denied: PermissionError | None = None
    for (number, removes), group in groupby(steps, key=_folder_and_removal):
        if denied and removes:
            # What could not be written elsewhere may still be here: keep it in sight.
            continue
        try:
            carrier.carry_out(number, list(group))
        except PermissionError as error:
            denied = denied or error
    if denied:
        raise denied


def _folder_and_removal(step: Step) -> tuple[int, bool]:
    return step.folder, isinstance(step, Remove | RemoveFolder | Release)


def _data(step: Write, wants: Wants) -> bytes:
    return README_TEXT.encode() if step.folder == _ROOT else wants.data(step)
