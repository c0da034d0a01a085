"""The gallery in a real browser, opened as files: a thousand generated people, or five thousand.

Set ``PORTRAITD_SCREENSHOTS`` to a folder to keep screenshots.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from portraitd.model.media_file import FileState
from portraitd.model.reasons import Reason, ReasonCode
from portraitd.model.recording_time import RecordingTime
from portraitd.model.suggestion import Suggestion
from portraitd.store.database import Database
from support.browser import (
    CHROMIUM,
    CONTRASTS,
    DESKTOP,
    NAMELESS,
    PHONE,
    focused_name,
    index_url,
    names,
    paint_times,
    person_url,
    screenshot,
    visit,
    wait_for_image,
    wait_for_images,
)
from support.clock import at
from support.gallery import (
    FIRST_NAMES,
    HOSTILE,
    LAST_NAMES,
    GalleryFixture,
    draw_montage,
    make_crowd,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module", params=[1000, pytest.param(5000, marks=pytest.mark.exhaustive)])
def crowd(request: pytest.FixtureRequest) -> int:
    """How many people there are; one more is new."""
    return int(request.param)


@pytest.fixture(scope="module")
def people(crowd: int) -> Iterator[Path]:
    """The tree of so many people: some named, some new, one with an outlier."""
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=above, prefix="portraitd-") as folder:
        root = Path(folder) / "people"
        fixture = GalleryFixture(Database.open(Path(folder)), root)
        for number, (clip, seen, duration_s) in enumerate(make_crowd(crowd)):
            fixture.show(clip, seen, duration_s, 1.76e9 + 86_400 * number)
        for number in range(6):
            fixture.show(f"table {number}.mp4", [(1, 5.0 + t) for t in range(4)], 60.0, 1.766e9)
        night = RecordingTime(datetime(1999, 7, 5, 3, 30, tzinfo=UTC).timestamp(), -240)
        fixture.show("station.mp4", [(1, 30.0)], 60.0, 1.766e9, [4321], night)
        fixture.show("wedding.jpg", [(60, 0.0)], 0.0, 1.766e9)
        fixture.montages = {
            person: draw_montage(person % 23, 25 if person <= 200 else 9)
            for person in range(1, 401)
        }
        fixture.grouping_run()
        fixture.publish(1.7665e9)
        for person, name in enumerate(HOSTILE, 41):
            (root / f"person-{person:04d}").rename(root / name)
        names = [f"{first} {last}" for last in LAST_NAMES for first in FIRST_NAMES]
        for person, name in enumerate(names, 51):
            (root / f"person-{person:04d}").rename(root / name)
        (root / "person-0001").rename(root / "Grete Weiß")
        fixture.show("new.mp4", [(1, 7.0), (2, 9.0), (crowd + 1, 3.0)], 60.0, 1.7672e9)
        fixture.grouping_run(
            [Suggestion(person, person + 3, 0.5, 0.9) for person in range(1, 40, 9)]
            + [Suggestion(1, 6, 0.55, 0.65)]
        )
        fixture.publish(1.7673e9)
        broken = fixture.file("broken film.mp4")
        reason = Reason(ReasonCode.NO_FRAME_DECODED, "no frame could be decoded")
        fixture.files.move_on(broken.id, FileState.FAILED, 1.7673e9, reason)
        fixture.video("wedding.mp4", slices=4)
        fixture.slice_queue.claim()
        fixture.video("birthday <b>.mp4", slices=2)
        fixture.status_stage.write("faces", at(1.7673e9))
        yield root


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=60_000)
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


def page_urls(people: Path) -> list[str]:
    """Return the addresses of each kind of page."""
    compare = (people / "gallery" / "compare.html").as_uri()
    return [
        index_url(people),
        person_url(people, 1),
        f"{compare}#1,4",
        (people / "gallery" / "unsorted.html").as_uri(),
        (people / "STATUS.html").as_uri(),
    ]


def test_thousands_of_people_load_quickly(people: Path, crowd: int, browser: Browser) -> None:
    """The first paint takes less than a second, and less than 2 MB load before scrolling."""
    times = []
    for _ in range(3):
        with visit(browser, index_url(people)) as here:
            expect(here.page.locator("#found")).to_have_text(f"{crowd + 1:,} people")
            expect(here.page.locator("#counted")).to_have_text(
                f"{crowd + 1:,} people in 68 videos and 1 photo"
            )
            wait_for_images(here.page)
            times.append(paint_times(here.page))
            weight = here.bytes
            screenshot(here.page, "index")
    print(f"first and largest paint {times}, {weight / 1e6:.2f} MB before scrolling")

    assert min(time["first"] for time in times) < 1000
    assert weight < 2_000_000


def test_scrolling_loads_more_images(people: Path, browser: Browser) -> None:
    """Images farther down are not requested before."""
    with visit(browser, index_url(people)) as here:
        wait_for_images(here.page)
        before = len(here.loaded)
        here.page.locator(".person").last.scroll_into_view_if_needed()
        wait_for_image(here.page.locator(".person img").last)

        assert before < len(here.loaded)


def test_people_are_found_by_name_and_number(people: Path, crowd: int, browser: Browser) -> None:
    """Accents and the order of words do not matter; an empty result is reported."""
    with visit(browser, index_url(people)) as here:
        search = here.page.get_by_role("searchbox", name="Search by name or number")
        search.fill("weiss")
        expect(here.page.locator("#found")).to_have_text("0 people")
        expect(here.page.locator("#empty")).to_have_text("No people match.")
        search.fill("garcia elise")
        assert ["Élise García"] == names(here.page)
        search.fill(str(crowd - 1))
        assert [f"person-{crowd - 1:04d}"] == names(here.page)
        search.fill("<script>")
        assert [HOSTILE[0]] == names(here.page)
        search.press("Enter")
        assert HOSTILE[0] == focused_name(here.page)
        here.page.reload()
        assert [HOSTILE[0]] == names(here.page)


def test_a_name_is_never_html(people: Path, browser: Browser) -> None:
    """It is text on a card, on a page, in a title and in a link, and its image loads."""
    for number, name in enumerate(HOSTILE, 41):
        with visit(browser, person_url(people, number)) as here:
            expect(here.page.locator("h1")).to_have_text(name)
            assert name.split() == here.page.title().split()
            wait_for_image(here.page.locator(".person-head img"))
    with visit(browser, index_url(people)) as here:
        here.page.get_by_role("searchbox").fill("taken")
        expect(here.page.locator(".person")).to_have_count(2)
        wait_for_images(here.page)
        assert "People" == here.page.title()


def test_the_keyboard_is_enough(people: Path, crowd: int, browser: Browser) -> None:
    """It opens a person and returns to the same card, turns pages, and reaches the search."""
    pages = math.ceil((crowd + 1) / 60)
    with visit(browser, index_url(people)) as here:
        page = here.page
        expect(page.locator(".person")).to_have_count(60)
        page.keyboard.press("/")
        page.keyboard.press("ArrowDown")
        first = focused_name(page)
        assert names(page)[0] == first
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        chosen = focused_name(page)
        assert names(page)[6] == chosen
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(chosen)
        assert page.evaluate("document.activeElement.id") == "name"
        page.keyboard.press("Escape")
        expect(page.locator(".person")).to_have_count(60)
        assert chosen == focused_name(page)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(chosen)
        page.go_back()
        expect(page.locator(".person")).to_have_count(60)
        assert chosen == focused_name(page)
        page.keyboard.press("End")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#where")).to_have_text(f"Page 2 of {pages}")
        assert names(page)[0] == focused_name(page)
        page.keyboard.press("ArrowLeft")
        assert (names(page)[59], f"Page 1 of {pages}") == (
            focused_name(page),
            page.locator("#where").text_content(),
        )


def test_tab_follows_the_order_of_the_page(people: Path, browser: Browser) -> None:
    """It starts at the skip link, and every stop has a visible focus."""
    with visit(browser, index_url(people)) as here:
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

    assert [
        "skip", "state", "", "search", "order", "all", "named", "unnamed", "new",
    ] == [name for name, _ in stops]  # fmt: skip
    assert all(seen for _, seen in stops)


def test_new_people_and_faces_are_announced(people: Path, crowd: int, browser: Browser) -> None:
    """The announcement has the date of the previous version, and a button shows the people."""
    with visit(browser, index_url(people)) as here:
        expect(here.page.locator("#new-text")).to_have_text(
            "New since 23 Dec 2025, 14:26: 1 person, 3 faces"
        )
        here.page.get_by_role("button", name="Show", exact=True).click()

        assert {"Grete Weiß", "person-0002", f"person-{crowd + 1}"} == set(names(here.page))
        assert ["1 new face", "1 new face", "New"] == here.page.locator(
            ".mark:not(.check)"
        ).all_text_contents()


def test_a_page_shows_everything_about_a_person(people: Path, browser: Browser) -> None:
    """It has portraits, appearances, outliers, and people who may be the same."""
    with visit(browser, person_url(people, 1)) as here:
        page = here.page
        expect(page.locator("h1")).to_have_text("Grete Weiß")
        screenshot(page, "person", full=True)

        assert [
            "Possibly the same person",
            "Possibly someone else",
            "Appearances",
            "Portraits",
            "Montage",
        ] == (page.locator("h2").all_text_contents())
        assert "station.mp4" in (page.locator("#part-outliers li").text_content() or "")
        plots = page.get_by_role("img", name="Grete Weiß in table 0.mp4: 1 appearance")
        assert "between 0:05 and 0:09" in (plots.get_attribute("aria-label") or "")
        bar = page.locator("svg .seen").first.bounding_box()
        assert bar is not None
        assert bar["width"] > 1
        assert ["person-0004very likely", "person-0006maybe"] == (
            page.locator("#part-similar li > a:first-child").all_text_contents()
        )
        page.locator("#part-similar a").first.click()
        expect(page.locator("h1")).to_have_text("person-0004")
        page.go_back()
        expect(page.locator("h1")).to_have_text("Grete Weiß")


def test_portraits_are_sorted_as_the_reader_likes(people: Path, browser: Browser) -> None:
    """New ones first if there are some; the doubtful ones on request."""
    with visit(browser, person_url(people, 1)) as here:
        order = here.page.locator("#portrait-order")
        expect(order).to_have_value("new")
        first = here.page.locator("#part-portraits li").first
        assert "new.mp4" in (first.locator(".video").get_attribute("title") or "")

        order.select_option("doubtful")

        expect(first.locator(".video")).to_have_attribute("title", "station.mp4")


def test_an_unnamed_person_says_how_to_name_them(people: Path, browser: Browser) -> None:
    """With the path of the folder, and a button that copies it."""
    with visit(browser, person_url(people, 1)) as here:
        expect(here.page.locator("h1")).to_have_text("Grete Weiß")
        assert 0 == here.page.locator("#naming").count()
    with visit(browser, person_url(people, 4)) as here:
        folder = str(people / "person-0004")
        expect(here.page.locator("#naming code")).to_have_text(folder)
        here.page.context.grant_permissions(["clipboard-read", "clipboard-write"])

        here.page.get_by_role("button", name="Copy").click()

        expect(here.page.get_by_role("button", name="Copied")).to_be_visible()
        assert folder == here.page.evaluate("navigator.clipboard.readText()")


def test_the_keyboard_works_from_the_first_key(people: Path, browser: Browser) -> None:
    """On the index an arrow goes to a card; on a page, to the person before or after."""
    with visit(browser, index_url(people)) as here:
        expect(here.page.locator("a.person").first).to_be_visible()
        here.page.keyboard.press("ArrowDown")
        assert focused_name(here.page) == names(here.page)[0]
    with visit(browser, person_url(people, 4)) as here:
        expect(here.page.locator("h1")).to_have_text("person-0004")
        here.page.keyboard.press("ArrowRight")
        expect(here.page.locator("h1")).to_have_text("person-0005")
        here.page.get_by_role("link", name="Previous person").click()
        expect(here.page.locator("h1")).to_have_text("person-0004")


def test_two_people_are_compared(people: Path, browser: Browser) -> None:
    """From the page of one of them: their portraits side by side, and where their folders are."""
    with visit(browser, person_url(people, 1)) as here:
        page = here.page
        page.get_by_role("link", name="Compare side by side").first.click()
        expect(page.locator(".side h2")).to_have_text(["Grete Weiß", "person-0004"])
        screenshot(page, "compare", full=True)

        for side in page.locator(".side").all():
            assert side.locator(".portraits li").count() > 2
        assert [str(people / "Grete Weiß"), str(people / "person-0004")] == (
            page.locator(".side code").all_text_contents()
        )


def test_a_home_without_faces_says_what_was_searched(tmp_path: Path, browser: Browser) -> None:
    """Otherwise readers cannot tell whether anything happened."""
    fixture = GalleryFixture(Database.open(tmp_path), tmp_path / "people")
    fixture.gallery.tick(at(1.0))
    fixture.status_stage.write("idle", at(1.0))
    with visit(browser, index_url(fixture.root)) as here:
        expect(here.page.locator("#empty")).to_contain_text("Drop videos or photos into the inbox")
    fixture.see()
    fixture.see()
    fixture.status_stage.write("idle", at(100.0))

    with visit(browser, index_url(fixture.root)) as here:
        expect(here.page.locator("#empty")).to_have_text(
            "Searched so far: 2 videos. No person was found in them."
        )


def test_an_unknown_number_is_reported(people: Path, browser: Browser) -> None:
    """A link may be older than a merge."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(person_url(people, 777_777))
    expect(page.get_by_text("This person no longer exists.")).to_be_visible()
    context.close()


def test_pages_follow_the_color_scheme(people: Path, browser: Browser) -> None:
    """Text has a contrast of at least 4.5 to 1 in both schemes."""
    for scheme in ("light", "dark"):
        for address in page_urls(people):
            with visit(browser, address, color_scheme=scheme) as here:
                expect(here.page.locator("h1")).to_be_visible()
                poor = here.page.evaluate(CONTRASTS)
                if scheme == "dark":
                    screenshot(here.page, f"dark-{Path(urlsplit(address).path).stem}")

                assert [] == poor, (scheme, address)
                ground = here.page.evaluate("getComputedStyle(document.body).backgroundColor")
                brightness = sum(int(one) for one in ground[4:-1].split(",")) / 3
                assert (brightness < 60) == (scheme == "dark")


def test_pages_fit_a_phone(people: Path, browser: Browser) -> None:
    """At 390 pixels nothing overflows, and controls are large enough to touch."""
    for address in page_urls(people):
        with visit(
            browser, address, viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2
        ) as here:
            expect(here.page.locator("h1")).to_be_visible()
            screenshot(here.page, f"phone-{Path(urlsplit(address).path).stem}")

            assert 390 == here.page.evaluate("document.documentElement.scrollWidth")
            small = here.page.evaluate(
                """[...document.querySelectorAll("button, select, input")]
                .filter((one) => one.offsetParent && one.offsetHeight < 32)
                .map((one) => one.outerHTML)"""
            )
            assert [] == small


def test_everything_has_an_accessible_name(people: Path, browser: Browser) -> None:
    """Links, buttons, fields and images have one; heading levels are not skipped."""
    for address in page_urls(people):
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


def test_pages_are_in_german_for_german_readers(people: Path, crowd: int, browser: Browser) -> None:
    """A reader can also choose German, and the choice is remembered."""
    with visit(browser, index_url(people), locale="de-DE") as here:
        expect(here.page.locator("h1")).to_have_text("Personen")
        expect(here.page.locator("#found")).to_have_text(
            f"{crowd + 1:_} Personen".replace("_", ".")
        )
        assert "de" == here.page.evaluate("document.documentElement.lang")
        screenshot(here.page, "german")
    with visit(browser, index_url(people)) as here:
        here.page.locator("#language").select_option("de")
        expect(here.page.locator("h1")).to_have_text("Personen")
        here.page.goto((people / "STATUS.html").as_uri())
        expect(here.page.locator("h1")).to_have_text("Gesichter werden gesucht")


def test_dates_say_what_they_are(people: Path, browser: Browser) -> None:
    """On the cards, at first and last seen, and at each video; in both languages.

    Half past eleven at night in New York is the same day for a reader in Tokyo.
    """
    with visit(browser, index_url(people)) as here:
        here.page.get_by_role("searchbox").fill("Grete")
        expect(here.page.locator("#people .line").last).to_have_text(
            "recorded 4 Jul 1999 – dropped 31 Dec 2025"
        )
    places = {
        "en-GB": ("recorded 4 Jul 1999", "dropped 1 Jan 2026"),
        "de-DE": ("aufgenommen 04.07.1999", "abgelegt 01.01.2026"),
    }
    for locale, (first, last) in places.items():
        url = person_url(people, 1)
        with visit(browser, url, locale=locale, timezone_id="Asia/Tokyo") as here:
            facts = here.page.locator("dl.facts")
            expect(facts).to_contain_text(f"{first}, in station.mp4")
            expect(facts).to_contain_text(f"{last}, in new.mp4")
            expect(here.page.locator("#part-times")).to_contain_text(last.split()[0])


def test_the_index_shows_the_status(people: Path, browser: Browser) -> None:
    """A line links to the status page, on which names are text as well."""
    with visit(browser, index_url(people)) as here:
        line = here.page.locator("a.state")
        expect(line).to_contain_text("Finding faces")
        expect(line).to_contain_text("1 file failed")
        line.click()
        expect(here.page.locator("h1")).to_have_text("Finding faces")
        screenshot(here.page, "status")
        text = here.page.locator("main").inner_text()
        assert "broken film.mp4" in text
        assert "no frame could be decoded" in text
        assert "birthday <b>.mp4" in text
        assert "wedding.mp4" in text


def test_the_status_page_works_without_scripts(people: Path, browser: Browser) -> None:
    """The preview of a file manager runs no scripts."""
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    page.goto((people / "STATUS.html").as_uri())
    assert "broken film.mp4" in page.locator("main").inner_text()
    page.goto(index_url(people))
    assert "People" == page.locator("h1").inner_text()
    context.close()


def test_injected_scripts_do_not_run(people: Path, browser: Browser) -> None:
    """The content security policy applies to files as well."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(index_url(people))
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
