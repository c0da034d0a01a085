"""Consents: who may be in a training set, by a file in their folder."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest

from portraitd.cli.dataset_rules import read_rule
from portraitd.cli.dataset_versions import find_expired, format_version, freeze, read_versions
from portraitd.datasets.consents import judge_consents, list_expired
from portraitd.model.errors import ConfigError
from portraitd.people.tree.consent_files import FolderConsent, read_consent_name
from portraitd.store.database import Database
from support.dataset_home import ANN, BEA, ann, build_set, copy_of
from support.home import Home

TODAY = date(2026, 11, 27)
FAR = "consent until 2999-12-31.pdf"


@pytest.fixture
def home(tmp_path: Path, named_home: Home) -> Home:
    """No one has agreed yet; both people have a folder with their name."""
    home = copy_of(
        named_home,
        tmp_path / "home",
        consent="required",
        formats=("imagefolder", "coco", "cvat"),
    )
    home.run()
    for row in home.rows("people"):
        if row["name"]:
            (home.people / f"person-{row['id']:04d}").rename(home.people / row["name"])
    home.run()
    return home


def agree(home: Home, person: str, name: str = FAR) -> Path:
    """Put a consent into the folder of a person."""
    file = home.people / person / name
    file.write_bytes(b"signed")
    return file


def people_in_set(home: Home) -> set[str]:
    """Build the set; return who is in it, in any format."""
    build_set(home)
    root = home.settings.dataset_dir
    names = {folder.name for folder in root.glob("imagefolder/*/*")}
    for file in root.glob("coco/annotations/*.json"):
        content = json.loads(file.read_text())
        used = {one["category_id"] for one in content["annotations"]}
        names |= {one["name"] for one in content["categories"] if one["id"] in used}
    return names


def report(home: Home) -> str:
    return (home.settings.dataset_dir / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "consent until 2027-05-31.pdf",
        "Consent Until 2027-05-31.TXT",
        "CONSENT_until_2027-05-31.txt",
        "consent-until-2027-05-31.pdf",
    ],
)
def test_a_name_says_until_when(name: str) -> None:
    """In any case, with any of three signs between the words."""
    assert (True, date(2027, 5, 31)) == read_consent_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "consent until 31.5.2027.pdf",
        "consent until 2027-02-30.pdf",
        "consent until May 2027.txt",
        "consent 2027-05-31.pdf",
        "consent.pdf",
        "consent until 2027-05-31 (2).pdf",
        "consent until \u0662\u0660\u0662\u0667-05-31.pdf",
    ],
)
def test_a_date_that_cannot_be_read_is_not_guessed(name: str) -> None:
    """But the file counts as one about consent, so that the report can say so."""
    assert (True, None) == read_consent_name(name)


@pytest.mark.parametrize(
    "name", ["notes.pdf", "consent until 2027-05-31.jpg", "consentless.txt", "no consent.txt"]
)
def test_other_files_say_nothing(name: str) -> None:
    """Pictures are references."""
    assert (False, None) == read_consent_name(name)


def test_the_last_day_counts_and_the_latest_file() -> None:
    """A file that says no date does not matter beside one that does."""
    found = (
        FolderConsent(1, "a", date(2026, 11, 27)),
        FolderConsent(2, "b", date(2026, 11, 26)),
        FolderConsent(3, "c", date(2020, 1, 1)),
        FolderConsent(3, "d", date(2030, 1, 1)),
        FolderConsent(3, "e", None),
        FolderConsent(4, "f", None),
    )

    assert [
        (1, "2026-11-27", "a", ""),
        (2, "2026-11-26", "b", "consent_expired"),
        (3, "2030-01-01", "d", ""),
        (4, "", "f", "consent_unreadable"),
    ] == list(judge_consents(found, TODAY))
    assert ["Bea"] == list_expired({"Ann": "2026-11-27", "Bea": "2026-11-26"}, TODAY)


def test_only_those_who_agreed_are_in_the_set(home: Home) -> None:
    """The report says who is not, and why; no set contains the file."""
    assert set() == people_in_set(home)
    file = agree(home, ANN)
    agree(home, BEA, "consent until 31.5.2027.txt")

    assert {ANN} == people_in_set(home)
    page = report(home)
    assert "<code>consent_unreadable</code>" in page
    assert "2999-12-31" in page
    assert b"signed" == file.read_bytes()
    written = home.settings.dataset_dir.rglob("*")
    assert not [
        path for path in written if b"signed" in path.name.encode() or "consent" in path.name
    ]


def test_others_are_unrecognisable_in_frames(home: Home) -> None:
    """No box and no track is left of a person who did not agree, nor of unknown ones."""
    agree(home, ANN)
    build_set(home)

    tracks = (home.settings.dataset_dir / "cvat").rglob("*.xml")
    labels = {label for file in tracks for label in file.read_text().split('track id="')[1:]}
    assert labels
    assert all(f'label="{ANN}"' in label for label in labels)


def test_an_expired_consent_drops_the_person_at_the_next_build(home: Home) -> None:
    """Also one that is removed."""
    agree(home, ANN)
    file = agree(home, BEA)
    assert {ANN, BEA} == people_in_set(home)

    file.rename(file.with_name("consent until 2020-01-31.pdf"))
    assert {ANN} == people_in_set(home)
    assert "they agreed until 2020-01-31" in report(home)

    (home.people / ANN / FAR).unlink()
    assert set() == people_in_set(home)


def test_it_follows_the_folder_and_is_never_touched(home: Home) -> None:
    """A renamed person keeps it."""
    file = agree(home, ANN)
    before = os.stat(file)
    file.parent.rename(home.people / "Anna")
    home.run()
    assert {"Anna"} == people_in_set(home)

    after = os.stat(home.people / "Anna" / FAR)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_consent_of_a_merged_person_counts_for_the_one_they_are(home: Home) -> None:
    """It stays in the folder where it is."""
    agree(home, ANN)
    bea = next(int(row["id"]) for row in home.rows("people") if row["name"] == BEA)
    with Database.open(home.settings.state_dir) as database:
        database.execute("update faces set person_id = ? where person_id = ?", (bea, ann(home)))
        database.execute("update people set merged_into = ? where name = ?", (bea, ANN))

    assert {BEA} == people_in_set(home)


def test_a_folder_or_a_link_is_no_consent(home: Home, tmp_path: Path) -> None:
    """Only a file says something."""
    (home.people / ANN / FAR).mkdir()
    (tmp_path / "form.pdf").write_bytes(b"signed")
    (home.people / BEA / FAR).symlink_to(tmp_path / "form.pdf")

    assert () == read_rule(home.settings).consents


def test_a_frozen_version_says_whose_consent_has_expired(home: Home) -> None:
    """Its datasheet lists all consents."""
    agree(home, ANN)
    build_set(home)
    frozen = freeze(home.settings, "v1")

    assert {ANN: "2999-12-31"} == frozen.consents
    sheet = (home.settings.dataset_dir / "_frozen" / "v1" / "DATASHEET.md").read_text()
    assert f"- {ANN}: until 2999-12-31." in sheet
    assert '`dataset.consent` = "required"' in sheet
    assert FAR not in sheet
    assert [] == find_expired(frozen)
    facts = home.settings.dataset_dir / "_frozen" / "v1" / "frozen.json"
    facts.chmod(0o600)
    facts.write_text(facts.read_text().replace("2999-12-31", "2020-12-31"))
    [old] = read_versions(home.settings)
    assert [ANN] == find_expired(old)
    assert format_version(old).endswith("; consent expired: Ann (2020-12-31)")


def test_the_service_leaves_out_who_has_not_agreed(home: Home) -> None:
    """Its clock says when a consent expires: then the set is built again without a request."""
    automatic = home.settings.dataset.model_copy(update={"auto": True})
    home.settings = home.settings.model_copy(update={"dataset": automatic})
    agree(home, ANN, "consent until 2001-10-30.txt")
    agree(home, BEA)

    def shown() -> set[str]:
        return {path.name for path in home.settings.dataset_dir.glob("imagefolder/*/*")}

    with home.opened() as service:
        home.run_until_idle(service)
        assert {ANN, BEA} == shown()
        home.steady_s += 60 * 86400.0
        home.run_until_idle(service)
        assert {BEA} == shown()
        with pytest.raises(ConfigError, match="no person 'Ann'"):
            service.harvest.begin(ANN, home.now.wall_s)
