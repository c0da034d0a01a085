"""The people tree on disk: reads what people did in it, and makes it show what is wanted.

What was published is remembered in a note in each folder (``note.py``). So a folder that a
human renames or moves takes its memory along, nothing about the tree can disagree with a
database, and a publish writes as many notes as it changes folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from portraitd.model.edit import Edit
from portraitd.model.errors import ForeignTree, MassDisappearance, PublishError
from portraitd.model.person import PersonFolder, PublishedFace
from portraitd.people.names import safe_name
from portraitd.people.tree.acknowledged import AcknowledgedEdits
from portraitd.people.tree.content_match import recognised
from portraitd.people.tree.desired import (
    Shown,
    Wants,
    montage_identity,
    montage_published,
    resting,
    shown,
)
from portraitd.people.tree.diff import LEAST_LOSS, Known, read
from portraitd.people.tree.folder_fs import opened_root, read_regular, remove_emptied
from portraitd.people.tree.inventory import Survey, placed, root_note, surveyed
from portraitd.people.tree.manifest import ROOT_NOTE, FolderManifest, read_note
from portraitd.people.tree.plan import Write
from portraitd.people.tree.plan_executor import Carrier, Modes
from portraitd.people.tree.publish import Publish, Published, is_nearly_emptied, places_for
from portraitd.people.tree.scan import Ground, Memory, walked
from portraitd.people.tree.tree_snapshot import (
    Copies,
    Lying,
    TreeSnapshot,
    copies_in,
    scene_of,
    with_copies,
)

_LOOKS = 3
"""How often the tree is looked at until it stands still for two looks."""


def class_of_person(person_id: int) -> int:
    """The Darknet class of a person: from 0, and the same for ever, like the person's id."""
    return person_id - 1


class PeopleTree:
    """The folder where people look at portraits and may change what they see.

    Every method raises PublishError if the tree cannot be read or written, and ForeignTree if
    another store's people are in it.

    Args:
        root: The tree's.
        modes: Rights of what is made in it.
        store: Which store the faces and people are from; empty if that does not matter.
    """

    def __init__(self, root: Path, modes: Modes | None = None, store: str = "") -> None:
        self._root = root
        self._modes = modes or Modes()
        self._store = store
        self._memory = Memory(store)
        self._heard = AcknowledgedEdits()
        self._copies: Copies = frozenset()

    def create(self, anew: bool = True) -> None:
        """Make the root and mark it as ours; does nothing where that was done before.

        Not part of ``publish``: an empty folder may be the place where a share is missing.

        Args:
            anew: Whether there may be no tree yet. If not, nothing is made where none is.
        """
        with self._errors():
            if not self._root.is_dir():
                if not anew:
                    return
                self._root.mkdir(parents=True, exist_ok=True)
                self._root.chmod(self._modes.folder)
            with opened_root(self._root) as root_fd:
                found = read_note(read_regular(root_fd, ROOT_NOTE))
                if found is None and not anew:
                    return
                note = found or FolderManifest(None, "", "", 0)
                before = note.to_bytes()
                # A tree from before stores had names belongs to the one that finds it.
                note.store = note.store or self._store
                if note.to_bytes() != before or read_regular(root_fd, ROOT_NOTE) is None:
                    Carrier(root_fd, {}, self._modes, _no_content).save(root_fd, ROOT_NOTE, note)
                self._check_store(note)

    def edits(self, known: Known, accept_losses: bool = False) -> list[Edit]:
        """What people did since the last publish, in an order in which it can be applied.

        The same tree gives the same edits again until a publish shows what came of them.
        Nothing is taken for gone in a tree that changes while it is looked at. A publish leaves
        alone what was done after the last reading.

        Args:
            known: What the store holds.
            accept_losses: Whether a human said that what is gone is meant to be gone.

        Raises:
            MassDisappearance: More has vanished than people take away by hand.
        """
        with self._errors(), opened_root(self._root) as root_fd:
            root_note = self._root_note(root_fd)
            survey = self._survey(root_fd, root_note)
            scene = self._scene(survey)
            reading = read(scene, known)
            looks = 1
            while reading.takes_away and looks < _LOOKS:
                survey = self._survey(root_fd, root_note)
                before, scene = scene, self._scene(survey)
                reading = read(scene, known)
                looks += 1
                if scene == before:
                    break
            else:
                if reading.takes_away:
                    # It does not stand still: what is gone may be on its way.
                    return []
            is_believed = accept_losses or not reading.is_mass_disappearance
            if is_believed:
                self._copies = copies_in(scene, self._copies)
                self._note_copies(root_fd, survey)
        if not is_believed:
            # Nor is anything made anew in the meantime.
            self._heard = AcknowledgedEdits()
            raise MassDisappearance(
                f"{self._root}: {reading.vanished} of {reading.published} portraits are gone; the "
                "share may be away. If they were deleted on purpose, run `portraitd accept`"
            )
        self._heard = AcknowledgedEdits.of(scene)
        return list(reading.edits)

    def adopt(self, location: str, person_id: int) -> None:
        """Make a folder that a human made this person's. Does nothing if it is gone, or ours."""
        with self._errors(), opened_root(self._root) as root_fd:
            survey = self._survey(root_fd, self._root_note(root_fd))
            for folder in survey.nobodys:
                if location and folder.location == location and person_id not in survey.places:
                    label = safe_name(folder.name)
                    place = placed(person_id, folder)
                    place.note.label = label
                    Carrier(root_fd, {person_id: place}, self._modes, _no_content).save_note(
                        person_id
                    )

    def stale_montages(self, folders: Sequence[PersonFolder]) -> list[int]:
        """The people whose montage does not show the faces they have now, in order of folders."""
        with self._errors(), opened_root(self._root) as root_fd:
            places = self._survey(root_fd, self._root_note(root_fd)).places
        return [
            folder.person_id
            for folder in folders
            if folder.faces
            and montage_published(places.get(folder.person_id)) != montage_identity(folder.faces)
        ]

    def portraits(self) -> dict[int, str]:
        """Where the portraits lie, by face id: the path below the root, as the notes say."""
        with self._errors(), opened_root(self._root) as root_fd:
            places = self._survey(root_fd, self._root_note(root_fd)).places
        return {
            face_id: f"{place.location}/{name}"
            for place in places.values()
            for name, face_id in place.portraits.items()
            if name in place.names
        }

    def publish(
        self,
        folders: Sequence[PersonFolder],
        unsorted: Sequence[PublishedFace],
        content: Callable[[int], bytes],
        montages: Mapping[int, bytes],
        class_of: Callable[[int], int] = class_of_person,
        ignored: Sequence[PersonFolder] = (),
        ignored_faces: Sequence[PublishedFace] = (),
        accept_losses: bool = False,
    ) -> Published:
        """Make the tree show these people; write and remove only what differs.

        What people did that ``edits`` has not read yet stays as it is: a portrait that is
        missing is put back only after its absence was read.

        An exception from ``content`` ends the publish and passes through. What was written
        until then stays, and the next publish goes on from there.

        Args:
            folders: Every person who is to be seen. One without faces gets no folder, but keeps
                one in which something of others lies.
            unsorted: The faces of nobody. They have no class, so no annotation either.
            content: The JPEG of a face; asked only for portraits that are to be written. The
                portrait of a face id must never change.
            montages: JPEG by person. Needed for ``stale_montages`` only; a person who is not
                among them keeps the montage they have.
            class_of: The Darknet class of a person.
            ignored: People who are out of sight; their folders go below ``_ignored``.
            ignored_faces: Single faces that are; they lie in ``_ignored`` itself.
            accept_losses: Whether nearly everything may go.
        """
        with self._errors(), opened_root(self._root) as root_fd:
            root_note = self._root_note(root_fd)
            remove_emptied(root_fd, {inode for _, inode in root_note.homes.values()})
            ground = self._ground(root_fd, sweeps=True)
            survey = surveyed(ground, root_note.homes)
            everything = shown(folders, unsorted, ignored, ignored_faces, class_of)
            if not accept_losses:
                self._refuse_to_empty(survey, everything)
            places = places_for(survey, everything)
            wants = Wants(places, root_fd, root_note.store, content, montages)
            publish = Publish(root_fd, root_note, ground, survey, self._heard, self._modes)
            done = publish.carried_out(everything, wants, resting(folders, ignored))
        self._heard = AcknowledgedEdits()
        return done

    def _ground(self, root_fd: int, *, sweeps: bool = False) -> Ground:
        return recognised(walked(root_fd, self._memory, sweeps=sweeps), root_fd)

    def _survey(self, root_fd: int, root_note: FolderManifest) -> Survey:
        return surveyed(self._ground(root_fd), root_note.homes)

    def _refuse_to_empty(self, survey: Survey, everything: Sequence[Shown]) -> None:
        if is_nearly_emptied(survey, everything, LEAST_LOSS):
            raise PublishError(
                f"{self._root}: nearly all people would be removed. If this is the right folder "
                "and they are meant to go, run `portraitd accept`"
            )

    def _scene(self, survey: Survey) -> TreeSnapshot:
        return with_copies(scene_of(survey), self._copies)

    def _note_copies(self, root_fd: int, survey: Survey) -> None:
        """Remember in the folders which pictures are copies, for the time after a restart."""
        carrier = Carrier(root_fd, survey.places, self._modes, _no_content)
        for number, place in survey.places.items():
            strays = {
                name: face
                for name, face in place.pictures.items()
                if name in place.note.strays or (number, Lying(face, name)) in self._copies
            }
            if place.has_note and strays != place.note.strays:
                place.note.strays = strays
                # Where nobody may write, this process remembers it.
                with suppress(OSError):
                    carrier.save_note(number)

    def _root_note(self, root_fd: int) -> FolderManifest:
        note = root_note(root_fd, self._root)
        self._check_store(note)
        return note

    def _check_store(self, note: FolderManifest) -> None:
        if self._store and note.store and note.store != self._store:
            raise ForeignTree(
                f"{self._root}: these people are from another portraitd, and their numbers mean "
                "others here. Set paths.state to the state they were made with, or move the "
                "folder away to begin a new one"
            )
        self._memory.store = note.store

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            name = error.filename
            where = self._root / name if isinstance(name, str) else self._root
            raise PublishError(f"{where}: {error.strerror or error}") from error


def _no_content(step: Write) -> bytes:
    raise KeyError(step.name)
