"""The last edits, notices and what blocks the service, as a reviewer's browser shows them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.browser import (
    CHROMIUM,
    CONTRASTS,
    NAMELESS,
    PHONE,
    index_url,
    screenshot,
    visit,
)
from support.drawn_home import make_drawn_home
from support.home import Home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]

HOSTILE = "Zoë & 'Söhne' {n}"
"""On a page, a name is text."""


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """A home with edits, one of them undone, notices, and too many portraits missing."""
    with tempfile.TemporaryDirectory(prefix="portraitd-") as folder:
        home = make_drawn_home(Path(folder), people=8)
        people = home.people
        with home.opened() as service:

            def work() -> None:
                for _ in range(2):
                    service.review.wake()
                    home.run_until_idle(service)

            (people / "person-0001").rename(people / "Anna")
            (people / "person-0002").rename(people / HOSTILE)
            work()
            (people / "person-0003/000017.jpg").rename(people / "Anna/000017.jpg")
            (people / "person-0004").rename(people / "Anna/person-0004")
            work()
            service.review.undo(None, home.now.wall_s)
            work()
            (people / HOSTILE).rename(people / "person-0099")
            (people / "person-0005").rename(people / "_unsorted/person-0005")
            work()
            for number in (6, 7, 8):
                for portrait in (people / f"person-000{number}").glob("0*.jpg"):
                    portrait.unlink()
            work()
        yield home


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


def status_url(home: Home) -> str:
    return (home.people / "STATUS.html").as_uri()


@contextmanager
def look(browser: Browser, address: str, **kind: Any) -> Iterator[Page]:
    """Open a page; that the pictures of missing portraits cannot be loaded is no problem."""
    with visit(browser, address, **kind) as here:
        yield here.page
        here.problems[:] = [one for one in here.problems if "ERR_FILE_NOT_FOUND" not in one]


def open_edits(page: Page) -> None:
    page.locator("#edits summary").click()


def test_the_index_shows_what_needs_attention(home: Home, browser: Browser) -> None:
    """What blocks, what was not understood, and the last edit; the others on request."""
    with look(browser, index_url(home.people)) as page:
        expect(page.locator("#state")).to_have_text("Needs attention")
        alerts = page.locator("#alerts")
        expect(alerts).to_contain_text("24 of 64 portraits are missing")
        expect(alerts).to_contain_text("people/_questions")
        expect(alerts).to_contain_text(f"“{HOSTILE}” could not be renamed to “person-0099”")
        expect(alerts).to_contain_text("moving a whole folder to _unsorted has no effect")
        expect(page.locator("#last-edit")).to_contain_text(
            "Last edit: Undone: Anna: 1 portrait moved in from person-0003"
        )
        expect(page.get_by_text("person-0002 was named")).not_to_be_visible()
        open_edits(page)
        expect(page.get_by_text(f"person-0002 was named {HOSTILE}")).to_be_visible()
        expect(page.locator("#edits")).to_contain_text("move its file in people/_edits")
        screenshot(page, "feedback-index")


def test_the_status_page_shows_them_without_scripts(home: Home, browser: Browser) -> None:
    """With the number that the card in ``_edits`` has."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(status_url(home))
    expect(page.locator("h1")).to_have_text("Needs attention")
    expect(page.get_by_text("24 of 64 portraits are missing")).to_be_visible()
    expect(page.locator("section", has_text="Last edits").locator("li")).to_have_count(5)
    expect(page.get_by_text(f"person-0002 was named {HOSTILE}")).to_be_visible()
    expect(page.locator(".undone")).to_have_text(["Anna: 1 portrait moved in from person-0003"])
    context.close()


def test_edits_and_notices_are_in_the_readers_language(home: Home, browser: Browser) -> None:
    """Also what is written into another text, as an edit that was undone."""
    for address in (index_url(home.people), status_url(home)):
        with look(browser, address, locale="de-DE") as page:
            expect(page.locator("body")).to_contain_text(
                "Zurückgenommen: Anna: 1 Porträt aus person-0003 hinzugefügt"
            )
            expect(page.locator("body")).to_contain_text("24 von 64 Porträts fehlen")
            expect(page.locator("body")).to_contain_text("Handlungsbedarf")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "STATUS"])
def test_they_can_be_read_on_a_phone(home: Home, browser: Browser, name: str, scheme: str) -> None:
    """Nothing overflows, contrast is enough in both schemes, and everything has a name."""
    address = (home.people / f"{name}.html").as_uri()
    with look(
        browser,
        address,
        color_scheme=scheme,
        viewport=PHONE,
        is_mobile=True,
        has_touch=True,
        device_scale_factor=2,
    ) as page:
        expect(page.locator("h1")).to_be_visible()
        if name == "index":
            open_edits(page)
        screenshot(page, f"feedback-phone-{scheme}-{name}")

        assert 390 == page.evaluate("document.documentElement.scrollWidth")
        assert [] == page.evaluate(CONTRASTS)
        assert [] == page.evaluate(NAMELESS)


def test_the_open_page_follows(home: Home, browser: Browser) -> None:
    """It loads the status every few seconds; a new edit and the end of a block are shown."""
    script = home.people / "gallery/data/status.js"
    before = script.read_text()
    with look(browser, index_url(home.people)) as page:
        expect(page.locator("#alerts")).to_be_visible()
        open_edits(page)
        script.write_text(
            'Gallery.status({"stage":"idle","percent":100,"eta_s":0,"waiting":0,"failed":0,"at":1,'
            '"blocked":[],"notices":[],"edits":[[9,{"text":"edit_name","values":'
            '{"before":"person-0001","name":"Bo"}},1,0]]});\n'
        )
        try:
            page.evaluate("Gallery.load('gallery/data/status.js')")
            expect(page.locator("#last-edit")).to_contain_text("person-0001 was named Bo")
            expect(page.locator("#alerts")).not_to_be_visible()
            expect(page.locator("#state")).to_have_text("Up to date")
            # What a reader has opened stays open.
            expect(page.locator("#edit-rows")).to_be_visible()
        finally:
            script.write_text(before)
