"""The gallery in a real browser, opened as a file: five thousand people who were never born.

``PORTRAITD_SCREENSHOTS`` names a folder that keeps the pictures taken on the way.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from portraitd.store.database import Database
from support.browser import (
    CHROMIUM,
    CONTRASTS,
    DESK,
    NAMELESS,
    PHONE,
    focused,
    index,
    keep,
    names,
    paints,
    person,
    settled,
    until_seen,
    visit,
)
from support.gallery import FIRST_NAMES, HOSTILE, LAST_NAMES, Exhibition, a_crowd, drawn_montage

PEOPLE = 5000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def people() -> Iterator[Path]:
    """The tree of five thousand people, some named by humans, some new, one with a stranger."""
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=above, prefix="portraitd-") as folder:
        root = Path(folder) / "people"
        exhibition = Exhibition(Database.open(Path(folder)), root)
        for number, (clip, seen, duration_s) in enumerate(a_crowd(PEOPLE)):
            exhibition.show(clip, seen, duration_s, 1.76e9 + 86_400 * number)
        for number in range(6):
            exhibition.show(f"table {number}.mp4", [(1, 5.0 + t) for t in range(4)], 60.0, 1.766e9)
        exhibition.show("station.mp4", [(1, 30.0)], 60.0, 1.766e9, looks=[4321])
        exhibition.montages = {
            person: drawn_montage(person % 23, 25 if person <= 200 else 9)
            for person in range(1, 401)
        }
        exhibition.grouping_run()
        exhibition.publish(1.7665e9)
        for person, name in enumerate(HOSTILE, 41):
            (root / f"person-{person:04d}").rename(root / name)
        names = [f"{first} {last}" for last in LAST_NAMES for first in FIRST_NAMES]
        for person, name in enumerate(names, 51):
            (root / f"person-{person:04d}").rename(root / name)
        (root / "person-0001").rename(root / "Grete Weiß")
        exhibition.show("new.mp4", [(1, 7.0), (2, 9.0), (PEOPLE + 1, 3.0)], 60.0, 1.7672e9)
        exhibition.grouping_run(
            [(person, person + 3, 0.5 + person / 1000) for person in range(1, 40, 9)]
        )
        exhibition.publish(1.7673e9)
        broken = exhibition.file("broken film.mp4")
        exhibition.files.move_on(broken.id, "failed", 1.7673e9, "no frame could be decoded")
        exhibition.video("wedding.mp4", slices=4)
        exhibition.slice_queue.claim()
        exhibition.video("birthday <b>.mp4", slices=2)
        exhibition.board.write("faces", 1.7673e9)
        yield root


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


def test_five_thousand_people_are_there_at_once(people: Path, browser: Browser) -> None:
    """Painted within a second, and with less than 2 MB before anybody scrolls."""
    times = []
    for _ in range(3):
        with visit(browser, index(people)) as here:
            expect(here.page.locator("#found")).to_have_text("5,001 people")
            settled(here.page)
            times.append(paints(here.page))
            weight = here.bytes
            keep(here.page, "index")
    print(f"first and largest paint {times}, {weight / 1e6:.2f} MB before scrolling")

    assert min(time["first"] for time in times) < 1000
    assert weight < 2_000_000


def test_more_pictures_come_with_scrolling(people: Path, browser: Browser) -> None:
    """Those farther down were not asked for before."""
    with visit(browser, index(people)) as here:
        settled(here.page)
        before = len(here.loaded)
        here.page.locator(".person").last.scroll_into_view_if_needed()
        until_seen(here.page.locator(".person img").last)

        assert before < len(here.loaded)


def test_somebody_is_found_by_name(people: Path, browser: Browser) -> None:
    """Without accents, in any order of words, and by number; nobody is said to be nobody."""
    with visit(browser, index(people)) as here:
        search = here.page.get_by_role("searchbox", name="Search by name or number")
        search.fill("weiss")
        expect(here.page.locator("#found")).to_have_text("0 people")
        expect(here.page.locator("#empty")).to_have_text("Nobody matches.")
        search.fill("garcia elise")
        assert ["Élise García"] == names(here.page)
        search.fill("4999")
        assert ["person-4999"] == names(here.page)
        search.fill("<script>")
        assert [HOSTILE[0]] == names(here.page)
        search.press("Enter")
        assert HOSTILE[0] == focused(here.page)
        here.page.reload()
        assert [HOSTILE[0]] == names(here.page)


def test_a_name_is_never_markup(people: Path, browser: Browser) -> None:
    """On a card, on a page, in a title, in a link; and the picture is found all the same."""
    for number, name in enumerate(HOSTILE, 41):
        with visit(browser, person(people, number)) as here:
            expect(here.page.locator("h1")).to_have_text(name)
            assert name.split() == here.page.title().split()
            until_seen(here.page.locator(".portrayed img"))
    with visit(browser, index(people)) as here:
        here.page.get_by_role("searchbox").fill("taken")
        expect(here.page.locator(".person")).to_have_count(2)
        settled(here.page)
        assert "People" == here.page.title()


def test_the_keyboard_is_enough(people: Path, browser: Browser) -> None:
    """To a person and back, the focus where it was; over the edge of a page; to the search."""
    with visit(browser, index(people)) as here:
        page = here.page
        expect(page.locator(".person")).to_have_count(60)
        page.keyboard.press("/")
        page.keyboard.press("ArrowDown")
        first = focused(page)
        assert names(page)[0] == first
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        chosen = focused(page)
        assert names(page)[6] == chosen
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(chosen)
        assert page.evaluate("document.activeElement.id") == "name"
        page.keyboard.press("Escape")
        expect(page.locator(".person")).to_have_count(60)
        assert chosen == focused(page)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(chosen)
        page.go_back()
        expect(page.locator(".person")).to_have_count(60)
        assert chosen == focused(page)
        page.keyboard.press("End")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#where")).to_have_text("Page 2 of 84")
        assert names(page)[0] == focused(page)
        page.keyboard.press("ArrowLeft")
        assert (names(page)[59], "Page 1 of 84") == (
            focused(page),
            page.locator("#where").text_content(),
        )


def test_tab_goes_through_the_page_in_order(people: Path, browser: Browser) -> None:
    """From the link that skips to the people, and each stop can be seen."""
    with visit(browser, index(people)) as here:
        page = here.page
        expect(page.locator(".person")).to_have_count(60)
        stops = []
        for _ in range(9):
            page.keyboard.press("Tab")
            stops.append(
                page.evaluate(
                    """() => {
                      const one = document.activeElement;
                      const seen = getComputedStyle(one).outlineStyle !== "none";
                      return [one.id || one.value || one.className, seen];
                    }"""
                )
            )

    # Nobody is to be seen without a name among none; those filters are left out.
    assert [
        "skip", "state", "", "search", "order", "all", "named", "unnamed", "new",
    ] == [name for name, _ in stops]  # fmt: skip
    assert all(seen for _, seen in stops)


def test_what_is_new_is_said_and_shown(people: Path, browser: Browser) -> None:
    """With the date of last time, and those it is about one step away."""
    with visit(browser, index(people)) as here:
        expect(here.page.locator("#news-text")).to_have_text(
            "New since 23 Dec 2025, 14:26: 1 person, 3 faces"
        )
        here.page.get_by_role("button", name="Show", exact=True).click()

        assert {"Grete Weiß", "person-0002", "person-5001"} == set(names(here.page))
        assert ["1 new", "1 new", "New"] == here.page.locator(
            ".mark:not(.check)"
        ).all_text_contents()


def test_a_person_is_shown_with_all_there_is_to_know(people: Path, browser: Browser) -> None:
    """Portraits, where they are seen, the stranger among them, and who may be the same."""
    with visit(browser, person(people, 1)) as here:
        page = here.page
        expect(page.locator("h1")).to_have_text("Grete Weiß")
        keep(page, "person", full=True)

        assert [
            "Perhaps the same person",
            "Likely intruders",
            "Where they appear",
            "Portraits",
        ] == (page.locator("h2").all_text_contents())
        assert "station.mp4" in (page.locator("#part-intruders li").text_content() or "")
        plots = page.get_by_role("img", name="Grete Weiß in table 0.mp4: 1 appearance")
        assert "between 0:05 and 0:09" in (plots.get_attribute("aria-label") or "")
        bar = page.locator("svg .seen").first.bounding_box()
        assert bar is not None
        assert bar["width"] > 1
        page.locator("#part-close a").first.click()
        expect(page.locator("h1")).to_have_text("person-0004")
        page.go_back()
        expect(page.locator("h1")).to_have_text("Grete Weiß")


def test_nobody_of_that_number_is_said_so(people: Path, browser: Browser) -> None:
    """A link may be older than a merge."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(person(people, 777_777))
    expect(page.get_by_text("There is no such person now.")).to_be_visible()
    context.close()


def test_it_is_dark_where_the_reader_wants_it_dark(people: Path, browser: Browser) -> None:
    """And what is written can be read in both: 4.5 to 1 and more."""
    for scheme in ("light", "dark"):
        for address in (index(people), person(people, 1), (people / "STATUS.html").as_uri()):
            with visit(browser, address, color_scheme=scheme) as here:
                expect(here.page.locator("h1")).to_be_visible()
                poor = here.page.evaluate(CONTRASTS)
                if scheme == "dark":
                    keep(here.page, f"dark-{Path(urlsplit(address).path).stem}")

                assert [] == poor, (scheme, address)
                ground = here.page.evaluate("getComputedStyle(document.body).backgroundColor")
                brightness = sum(int(one) for one in ground[4:-1].split(",")) / 3
                assert (brightness < 60) == (scheme == "dark")


def test_a_phone_shows_all_of_it(people: Path, browser: Browser) -> None:
    """390 pixels wide, nothing beyond the edge, and everything large enough for a finger."""
    for address in (index(people), person(people, 1), (people / "STATUS.html").as_uri()):
        with visit(
            browser, address, viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2
        ) as here:
            expect(here.page.locator("h1")).to_be_visible()
            keep(here.page, f"phone-{Path(urlsplit(address).path).stem}")

            assert 390 == here.page.evaluate("document.documentElement.scrollWidth")
            small = here.page.evaluate(
                """[...document.querySelectorAll("button, select, input")]
                .filter((one) => one.offsetParent && one.offsetHeight < 32)
                .map((one) => one.outerHTML)"""
            )
            assert [] == small


def test_everything_has_a_name_for_those_who_listen(people: Path, browser: Browser) -> None:
    """Each link, button, field and picture; headings go down one step at a time."""
    for address in (index(people), person(people, 1), (people / "STATUS.html").as_uri()):
        with visit(browser, address) as here:
            expect(here.page.locator("h1")).to_be_visible()
            nameless = here.page.evaluate(NAMELESS)
            levels = [
                int(one[1])
                for one in here.page.evaluate(
                    "[...document.querySelectorAll('h1, h2, h3')].map((one) => one.tagName)"
                )
            ]

            assert [] == nameless
            assert 1 == levels[0] == levels.count(1)
            assert all(after <= before + 1 for before, after in pairwise(levels))


def test_it_speaks_german_to_germans(people: Path, browser: Browser) -> None:
    """And to whoever chooses it, from then on."""
    with visit(browser, index(people), locale="de-DE") as here:
        expect(here.page.locator("h1")).to_have_text("Personen")
        expect(here.page.locator("#found")).to_have_text("5.001 Personen")
        assert "de" == here.page.evaluate("document.documentElement.lang")
        keep(here.page, "german")
    with visit(browser, index(people)) as here:
        here.page.locator("#language").select_option("de")
        expect(here.page.locator("h1")).to_have_text("Personen")
        here.page.goto((people / "STATUS.html").as_uri())
        expect(here.page.locator("h1")).to_have_text("Gesichter werden gesucht")


def test_the_page_says_what_is_being_done(people: Path, browser: Browser) -> None:
    """In a line that leads to all of it; names there are text as well."""
    with visit(browser, index(people)) as here:
        line = here.page.locator("a.state")
        expect(line).to_contain_text("Finding faces")
        expect(line).to_contain_text("1 file failed")
        line.click()
        expect(here.page.locator("h1")).to_have_text("Finding faces")
        keep(here.page, "status")
        text = here.page.locator("main").inner_text()
        assert "broken film.mp4" in text
        assert "no frame could be decoded" in text
        assert "birthday <b>.mp4" in text
        assert "wedding.mp4" in text


def test_without_scripts_the_status_can_be_read(people: Path, browser: Browser) -> None:
    """A preview in a file manager runs none."""
    context = browser.new_context(java_script_enabled=False, viewport=DESK)
    page = context.new_page()
    page.goto((people / "STATUS.html").as_uri())
    assert "broken film.mp4" in page.locator("main").inner_text()
    page.goto(index(people))
    assert "People" == page.locator("h1").inner_text()
    context.close()


def test_a_program_in_the_page_would_not_run(people: Path, browser: Browser) -> None:
    """The policy holds for files too: neither inline nor from elsewhere."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(index(people))
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'taken'";
          document.body.append(script);
          const image = document.createElement("img");
          image.setAttribute("onerror", "document.title = 'taken'");
          image.src = "gallery/none.jpg";
          document.body.append(image);
          return new Promise((resolve) => image.addEventListener("error", resolve));
        }"""
    )
    assert "People" == page.title()
    context.close()
