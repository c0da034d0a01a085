"""Folder names that every file system accepts and distinguishes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.people.names import MAX_BYTES, OWN_NAMES, folded, folder_name, unique_name

awkward = st.text(
    alphabet=st.one_of(
        st.sampled_from('<>:"/\\|?*. _-~$CONauxé\u0301\u202e\u200d\t\nßİ\ud800'),
        st.characters(),
    ),
    max_size=150,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "person-0007"),
        ("", "person-0007"),
        (" . ", "person-0007"),
        ("\u202e\u200b", "person-0007"),
        ("Anna Müller", "Anna Müller"),
        ("Mu\u0308ller", "Müller"),
        ("AC/DC: live?", "AC-DC- live-"),
        ("a\u202etxt.exe", "atxt.exe"),
        ("  two \n lines ", "two lines"),
        ("trailing. .", "trailing"),
        ("..", "person-0007"),
        (".hidden", "hidden"),
        ("_unsorted", "unsorted"),
        ("CON", "CON-"),
        ("aux.txt", "aux-.txt"),
        ("Lpt1", "Lpt1-"),
        ("com¹", "com¹-"),
        ("Conrad", "Conrad"),
        ("caf\udce9", "caf"),
        ("花子", "花子"),
    ],
)
def test_a_name_becomes_safe(name: str | None, expected: str) -> None:
    """Safe characters are kept; if none are left, the folder gets the person's number."""
    assert expected == folder_name(7, name)


def test_a_long_name_is_shortened_between_characters() -> None:
    """At most 100 bytes, and no partial character."""
    assert "é" * 50 == folder_name(1, "é" * 80)
    assert "a" + "é" * 49 == folder_name(1, "a" + "é" * 80)


@given(awkward)
def test_every_name_is_safe_everywhere(name: str) -> None:
    """Linux, Windows and macOS accept the folder, whatever people type."""
    safe = folder_name(1, name)

    assert 0 < len(safe.encode()) <= MAX_BYTES
    assert unicodedata.is_normalized("NFC", safe)
    assert not set(safe) & set('<>:"/\\|?*')
    assert not safe.startswith((".", "_", " "))
    assert not safe.endswith((".", " "))
    assert all(unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for c in safe)
    assert safe.partition(".")[0].rstrip().lower() not in {"con", "prn", "aux", "nul", "com1"}


@given(awkward)
def test_a_safe_name_stays(name: str) -> None:
    """Making a name safe twice changes nothing more."""
    once = folder_name(1, name)

    assert once == folder_name(1, once)


wishes_that_meet = st.sampled_from(
    ["Anna", "anna", "ANNA", "Jose\u0301", "José", "x" * 100, "Straße", "STRASSE", "gallery"]
)


@given(st.lists(wishes_that_meet, max_size=12))
def test_names_are_unique_without_case(wishes: list[str]) -> None:
    """No two folders collide, nor with portraitd's own, on any file system."""
    taken: set[str] = set()
    for wish in wishes:
        name = unique_name(folder_name(1, wish), taken)
        assert folded(name) not in taken
        assert folded(name) not in {folded(own) for own in OWN_NAMES}
        assert len(name.encode()) <= MAX_BYTES
        assert name == folder_name(1, name)
        taken.add(folded(name))


def test_the_second_folder_of_a_name_is_numbered() -> None:
    """The first keeps the plain name."""
    assert "Anna" == unique_name("Anna", set())
    assert "ANNA (2)" == unique_name("ANNA", {"anna"})
    assert "anna (3)" == unique_name("anna", {"anna", "anna (2)"})
