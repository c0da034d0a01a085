"""A folder of cards: files that portraitd writes, each standing for something, to be moved.

A reviewer moves a card into one of the *answer folders* inside the folder, or gives it a name that
is an answer. A copy answers as well.
What a card stands for is its *key*: a short text, which is also written into the file, so the card
is recognised under any name. A card whose metadata a program removed is recognised by its content.

The folder holds a note that lists every card that is out. ``read`` compares the note with the
folder and changes nothing; ``update`` writes and removes cards. What was done with a card is not
taken back or covered: a listed card that is not in its place is left alone until it is closed.

Every reviewer may write to the folder: the size and type of a file are checked before it is read,
and no link is followed. What is not a card is never touched.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from portraitd.media.jpeg import read_size
from portraitd.model.errors import PublishError
from portraitd.model.media_file import Stamp
from portraitd.people.names import folded, safe_name
from portraitd.people.tree.folder_fs import (
    OWN_PREFIX,
    WrittenFile,
    digest,
    entry_exists,
    open_folder,
    open_made,
    open_regular,
    open_root,
    raise_as_publish_error,
    read_regular,
    remove_unfinished,
    replace_file,
)
from portraitd.people.tree.manifest import (
    PERSON_MANIFEST,
    FolderManifest,
    ManifestEntry,
    read_note,
    write_note,
)
from portraitd.people.tree.ownership import read_root_manifest
from portraitd.people.tree.plan_executor import Modes
from portraitd.people.tree.scan import SKIPPED_ERRORS, list_names

CARDS_NOTE = f"{OWN_PREFIX}cards"
"""The note with every card that is out, in the folder itself."""

MAX_CARD_BYTES = 4 << 20
"""Longest file that can be a card; those of portraitd have some hundred kilobytes."""

MAX_FILES = 2000
"""How many files of each folder are examined; the others do not count as cards."""

_MARK_BYTES = 64 << 10
"""The key is in the first bytes of a file."""

_KEY = re.compile(r"[a-z][\w:,.-]{0,999}", re.ASCII)

_MARK = re.compile(rb"portraitd card ([0-9A-Za-z-]{1,64}) ([a-z][\w:,.-]{0,999})(?![\w:,.-])")

_SOI, _COM = b"\xff\xd8", b"\xff\xfe"

ListedContent = Mapping[int, Mapping[str, str]]
"""Key of each listed card by the size and the hash of its content."""

_MAX_PLACES = 100
"""How many files that are not cards are reported."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it should be.

    Attributes:
        key: What it stands for: a lower-case letter, then ASCII letters, digits and ``:,.-_``.
        name: Name of the file, with its ending; made safe and distinct where it is written.
        identity: Of the content: equal identities mean equal content.
    """

    key: str
    name: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class CardReading:
    """What is in a card folder.

    Attributes:
        answers: By key, the answer folder that the card or a copy is in, or what its name says.
        contradictory: Keys of cards that give several answers.
        deleted: Keys of listed cards that are nowhere.
        in_place: By key, the path below the root of a card that was not moved.
        others: Paths below the root of what is not a card.
    """

    answers: Mapping[str, str] = field(default_factory=dict)
    contradictory: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    in_place: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


class CardFolder:
    """A folder in the root of the tree, with its cards.

    Every method raises PublishError if the folder cannot be read or written, or the marker of the
    tree is missing. A folder that does not exist yet holds nothing.

    Args:
        root: The root of the tree.
        name: Name of the folder; one of ``reserved_folders``.
        answers: Names of the answer folders.
        store: The store whose cards count.
        modes: Modes of new files and folders.
        read_answer: Returns the answer of a card in an answer folder, or in the folder itself (an
            empty text), under a name; empty for none. By default, the answer folder.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        answers: Sequence[str],
        store: str,
        modes: Modes | None = None,
        read_answer: Callable[[str, str], str] = lambda place, name: place,
    ) -> None:
        self._root = root
        self._name = name
        self._answers = tuple(answers)
        self._store = store or "-"
        self._modes = modes or Modes()
        self._read_answer = read_answer
        self._seen: dict[int, tuple[Stamp, str | None]] = {}
        self._found: dict[int, tuple[Stamp, str | None]] = {}

    @property
    def path(self) -> Path:
        """The folder."""
        return self._root / self._name

    def read(self) -> CardReading:
        """Return which cards are where. Nothing is changed, so a second reading can confirm it."""
        with self._opened() as fd:
            return CardReading() if fd is None else self._read(fd)

    def list_cards(self) -> dict[str, str]:
        """Return the identity of each card that is out, by key."""
        with self._opened() as fd:
            files = {} if fd is None else self.read_list(fd).files
        identities = (entry.identity.partition(" ") for entry in files.values())
        return {key: identity for key, _, identity in identities}

    def update(
        self,
        cards: Sequence[Card],
        content: Callable[[Card], bytes],
        closed: Collection[str] = (),
    ) -> int:
        """Make the folder hold these cards; return how many files were written or removed.

        A listed card is not written again while it is missing from its place: it was moved or
        deleted, and the caller closes it when that was dealt with. A card that is not desired any
        more is removed from its place, but not from an answer folder before it is closed.

        Args:
            cards: Every card there should be. The folder is made if it is missing.
            content: Returns the content of a card, without its key; called only for those that
                are written.
            closed: Keys that are dealt with. Their files are removed wherever they are; if such a
                card is desired, it is written anew.
        """
        with raise_as_publish_error(self._root), open_root(self._root) as root_fd:
            read_root_manifest(root_fd, self._root)
            if not cards and not entry_exists(root_fd, self._name):
                return 0
            opening = open_made(self._name, root_fd, self._modes.folder)
            with opening as fd, raise_as_publish_error(self.path):
                if entry_exists(fd, PERSON_MANIFEST):
                    raise PublishError(
                        f"{self.path}: this is the folder of a person; rename it, and portraitd "
                        "makes its own folder of this name"
                    )
                return _Update(self, fd).run(cards, content, frozenset(closed))

    def remove(self, closed: Collection[str] = ()) -> None:
        """Remove the cards that were not answered or are closed, and each folder that is empty.

        The folder of a person who has the name is left alone.
        """
        with self._opened() as fd:
            if fd is None:
                return
            self.update((), _refuse, closed)
            for answer in self._answers:
                with suppress(OSError):
                    os.rmdir(answer, dir_fd=fd)
            if not list_names(fd):
                with suppress(OSError):
                    os.unlink(CARDS_NOTE, dir_fd=fd)
                with suppress(OSError):
                    self.path.rmdir()

    # --- Shared with _Update.

    def read_list(self, fd: int) -> FolderManifest:
        """Return the note of the open folder; empty if it is missing or damaged."""
        return read_note(fd, CARDS_NOTE) or FolderManifest()

    def save_list(self, fd: int, note: FolderManifest) -> None:
        """Write the note."""
        write_note(fd, CARDS_NOTE, note, self._modes.file)

    def write(self, fd: int, name: str, key: str, data: bytes) -> WrittenFile:
        """Write a card with its key."""
        return replace_file(fd, name, self._marked(data, key), self._modes.file)

    @contextmanager
    def answer_folders(self, fd: int, *, makes: bool = False) -> Iterator[dict[str, int]]:
        """Open the answer folders that can be opened; gives their descriptors by name."""
        opened: dict[str, int] = {}
        with ExitStack() as stack:
            for answer in self._answers:
                with suppress(OSError):
                    opening = (
                        open_made(answer, fd, self._modes.folder)
                        if makes
                        else open_folder(answer, fd)
                    )
                    opened[answer] = stack.enter_context(opening)
            yield opened

    def find_cards(self, fd: int, listed: ListedContent) -> dict[str, str | None]:
        """Return the key of each file in an open folder, by name; None for what is not a card."""
        names = [name for name in list_names(fd) if name not in self._answers]
        return {
            name: self._key_of(fd, name, listed) if at < MAX_FILES else None
            for at, name in enumerate(names)
        }

    def list_answers(self, place: str, cards: Mapping[str, str | None]) -> list[tuple[str, str]]:
        """Return the answer of each card in a place that gives one, and its key."""
        found = [(self._read_answer(place, name), key) for name, key in cards.items() if key]
        return [(answer, key) for answer, key in found if answer]

    # ---

    def _read(self, fd: int) -> CardReading:
        listed = self.read_list(fd)
        content = _content_of(listed)
        self._found = {}
        # The folder first: a card that is moved meanwhile is found in both, and not missing.
        here = self.find_cards(fd, content)
        others = [f"{self._name}/{name}" for name, key in here.items() if key is None]
        answered: dict[str, set[str]] = {}
        for answer, key in self.list_answers("", here):
            answered.setdefault(key, set()).add(answer)
        with self.answer_folders(fd) as opened:
            for answer in self._answers:
                if answer not in opened:
                    if entry_exists(fd, answer):
                        others.append(f"{self._name}/{answer}")
                    continue
                there = self.find_cards(opened[answer], content)
                others += [
                    f"{self._name}/{answer}/{name}" for name, key in there.items() if key is None
                ]
                for said, key in self.list_answers(answer, there):
                    answered.setdefault(key, set()).add(said)
        self._seen = self._found
        keys = _keys_of(listed)
        in_place = {key: f"{self._name}/{name}" for name, key in here.items() if key}
        in_place |= {
            key: f"{self._name}/{name}" for name, key in keys.items() if here.get(name) == key
        }
        return CardReading(
            {key: min(places) for key, places in answered.items() if len(places) == 1},
            frozenset(key for key, places in answered.items() if len(places) > 1),
            frozenset(keys.values()) - in_place.keys() - answered.keys(),
            {key: path for key, path in in_place.items() if key not in answered},
            tuple(others[:_MAX_PLACES]),
        )

    def _key_of(self, fd: int, name: str, listed: ListedContent) -> str | None:
        """Return the key of a card; None if the file is something else."""
        try:
            facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(facts.st_mode) or not 0 < facts.st_size <= MAX_CARD_BYTES:
            return None
        stamp = Stamp.of(facts)
        cached = self._seen.get(stamp.inode)
        if cached is None or cached[0] != stamp:
            cached = stamp, find_key(_read_head(fd, name), self._store)
        self._found[stamp.inode] = cached
        if cached[1] is not None or stamp.size not in listed:
            return cached[1]
        data = read_regular(fd, name, MAX_CARD_BYTES)
        return None if data is None else listed[stamp.size].get(digest(data))

    def _marked(self, data: bytes, key: str) -> bytes:
        """Return a card with its key: in a JPEG a comment, in a text a line at its end."""
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"not a key: {key!r}")
        mark = f"portraitd card {self._store} {key}".encode()
        if read_size(io.BytesIO(data)) is None:
            return data + b"\n" + mark + b"\n"
        segment = _COM + (len(mark) + 2).to_bytes(2, "big") + mark
        # After the JFIF header, which is to be the first segment.
        at = 2
        if data[2:4] == b"\xff\xe0":
            at = 4 + int.from_bytes(data[4:6], "big")
        return data[:at] + segment + data[at:]

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """Open the folder; gives None if there is none, or a link or a file has its name."""
        with ExitStack() as stack:
            stack.enter_context(raise_as_publish_error(self._root))
            root_fd = stack.enter_context(open_root(self._root))
            read_root_manifest(root_fd, self._root)
            fd = None
            try:
                fd = stack.enter_context(open_folder(self._name, root_fd))
            except OSError as error:
                if error.errno not in SKIPPED_ERRORS:
                    raise
            stack.enter_context(raise_as_publish_error(self.path))
            yield None if fd is None or entry_exists(fd, PERSON_MANIFEST) else fd


class _Update:
    """One update of an open card folder."""

    def __init__(self, folder: CardFolder, fd: int) -> None:
        self._folder = folder
        self._fd = fd
        self._note = folder.read_list(fd)
        self._saved = self._note.to_bytes()
        self._changes = 0

    def run(
        self, cards: Sequence[Card], content: Callable[[Card], bytes], closed: frozenset[str]
    ) -> int:
        desired = {card.key: card for card in cards}
        remove_unfinished(self._fd)
        listed = _content_of(self._note)
        here = self._folder.find_cards(self._fd, listed)
        with self._folder.answer_folders(self._fd, makes=True) as opened:
            there = {
                answer: self._folder.find_cards(answer_fd, listed)
                for answer, answer_fd in opened.items()
            }
            answered = {key for cards_there in there.values() for key in cards_there.values()}
            answered |= {key for _, key in self._folder.list_answers("", here)}
            obsolete = {key for key in here.values() if key and key not in desired} - answered
            dropped = closed | obsolete
            # A card is dropped from the list before it is removed, and is in place before it is
            # listed: one that a crash left over is recognised by its key.
            for name, key in _keys_of(self._note).items():
                is_gone = key not in here.values() and key not in answered
                if key in dropped or (key not in desired and is_gone):
                    del self._note.files[name]
            self._save_list()
            self._remove_cards(self._fd, here, dropped)
            for answer, answer_fd in opened.items():
                self._remove_cards(answer_fd, there[answer], closed)
        left = {name: key for name, key in here.items() if key not in dropped}
        for card in cards:
            self._bring_up_to_date(card, content, left, card.key in answered - closed)
        self._save_list()
        return self._changes

    def _save_list(self) -> None:
        data = self._note.to_bytes()
        if data != self._saved:
            self._folder.save_list(self._fd, self._note)
            self._saved = data

    def _bring_up_to_date(
        self,
        card: Card,
        content: Callable[[Card], bytes],
        here: dict[str, str | None],
        is_answered: bool,
    ) -> None:
        """Write a card that is new, or whose content is another one now."""
        identity = f"{card.key} {card.identity}"
        listed = next((n for n, key in _keys_of(self._note).items() if key == card.key), None)
        in_place = next((name for name, key in here.items() if key == card.key), None)
        is_current = listed is not None and self._note.files[listed].identity == identity
        if is_answered or is_current or (listed is not None and in_place is None):
            return
        name = _free_name(card.name, [one for one in here if one != in_place], self._fd, in_place)
        written = self._folder.write(self._fd, name, card.key, content(card))
        self._changes += 1
        if listed is not None:
            self._note.files.pop(listed)
        self._note.files[name] = ManifestEntry(identity, written)
        if in_place is not None and in_place != name:
            self._remove(self._fd, in_place)
            here.pop(in_place)
        here[name] = card.key

    def _remove_cards(
        self, fd: int, cards: Mapping[str, str | None], keys: Collection[str]
    ) -> None:
        for name, key in cards.items():
            if key in keys:
                self._remove(fd, name)

    def _remove(self, fd: int, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)
            self._changes += 1


def erase_cards(fd: int) -> int:
    """Remove every card in an open folder, and the note; return how many files were removed.

    Of any store and under any name: a picture may show an erased face, and a text name an erased
    person.
    """
    removed = 0
    for name in list_names(fd):
        if _MARK.search(_read_head(fd, name)):
            os.unlink(name, dir_fd=fd)
            removed += 1
    with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
        os.unlink(CARDS_NOTE, dir_fd=fd)
    return removed


def _keys_of(note: FolderManifest) -> dict[str, str]:
    """Return the key of each listed card, by the name it was written under."""
    return {name: entry.identity.partition(" ")[0] for name, entry in note.files.items()}


def _content_of(note: FolderManifest) -> ListedContent:
    found: dict[int, dict[str, str]] = {}
    for entry in note.files.values():
        by_hash = found.setdefault(entry.written.size, {})
        by_hash[entry.written.sha256] = entry.identity.partition(" ")[0]
    return found


def find_key(head: bytes, store: str) -> str | None:
    """Return the key in the first bytes of a card of this store; None if there is none."""
    found = _MARK.search(head[:_MARK_BYTES])
    if found is None or found[1] != store.encode():
        return None
    return found[2].decode()


def _read_head(fd: int, name: str) -> bytes:
    """Return the first bytes of a file; none if it is not a regular one."""
    with open_regular(fd, name) as file:
        return file.read(_MARK_BYTES) if file else b""


def _free_name(name: str, taken: Collection[str], fd: int, own: str | None) -> str:
    """Return a safe name for a card that no other file in the folder has."""
    stem, _, ending = name.rpartition(".")
    stem = safe_name(stem) or "card"
    used = {folded(one) for one in taken}
    candidate, number = f"{stem}.{ending}", 1
    while folded(candidate) in used or (candidate != own and entry_exists(fd, candidate)):
        number += 1
        candidate = f"{stem} ({number}).{ending}"
    return candidate


def _refuse(card: Card) -> bytes:
    raise KeyError(card.key)
