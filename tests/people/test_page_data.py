"""The content of the pages: texts, escaping, tables, the status page."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portraitd.model.appearance import Appearance, Clip
from portraitd.people.pages.assets import POLICY, load_static_files, render_index_page, render_page
from portraitd.people.pages.escaping import (
    escape_html,
    make_csv,
    make_script,
    quote_path,
    to_js_literal,
)
from portraitd.people.pages.status_page import (
    EditLine,
    StatusView,
    format_duration,
    make_status_line_script,
    render_status_page,
)
from portraitd.people.pages.tables import make_people_table, make_person_table
from portraitd.people.pages.words import PageText, load_words, translate

CLIP = Clip(1, "a.mp4", False, 60.0, 1.0, 100.0)
SEEN = [(CLIP, [Appearance(3.0, 6.5, 3), Appearance(3600.25, 3601.25, 1)])]
PAGES = {
    "index.html": render_index_page(2),
    "person.html": load_static_files()["person.html"],
    "status.html": render_page("status.html", refresh="5", title="", content=""),
}


def status_view(**facts: object) -> StatusView:
    """Return a status view during work, with some values replaced."""
    usual: dict[str, object] = {
        "stage": "faces",
        "running": (("long film.mp4", 0.42),),
        "waiting": (("next.mp4", ""),),
        "waiting_count": 1,
        "failed": (("broken.mp4", "no frame could be decoded"),),
        "failed_count": 1,
        "done_s": 40.0,
        "open_s": 60.0,
        "eta_s": 300.0,
        "grouped_at": 1e9,
    }
    return StatusView(**usual | facts)  # type: ignore[arg-type]


def shown(html: bytes) -> str:
    """Return the visible text of a page."""
    seen: list[str] = []
    parser = HTMLParser()
    parser.handle_data = seen.append  # type: ignore[method-assign]
    parser.feed(html.decode())
    return " ".join(" ".join(seen).split())


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner, max_size=4)))
def test_any_text_survives_a_script(value: object) -> None:
    """The browser reads it unchanged, and nothing in it ends a script or a line."""
    written = make_script("people", value).decode("ascii")

    assert value == json.loads(written.removeprefix("Gallery.people(").removesuffix(");\n"))
    assert not set("<>&\u2028\u2029\r") & set(written)
    assert 1 == written.count("\n")


def test_non_finite_numbers_are_rejected() -> None:
    """They are not written as NaN."""
    with pytest.raises(ValueError, match="JSON compliant"):
        to_js_literal(float("nan"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("person-0001", "person-0001"),
        ("100% #1? & more", "100%25%20%231%3F%20%26%20more"),
        ("Jürgen/ä.jpg", "J%C3%BCrgen/%C3%A4.jpg"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("strange \udcff", "strange%20%FF"),
        ("a\"'<b>", "a%22%27%3Cb%3E"),
    ],
)
def test_a_path_becomes_a_link(path: str, expected: str) -> None:
    """Percent-encoding byte by byte leads to the file whatever its name."""
    assert expected == quote_path(path)


def test_markup_is_text() -> None:
    """It is safe between tags and in both kinds of quotes."""
    assert "&lt;b&gt; &amp; &quot;x&#x27; \\xff" == escape_html("<b> & \"x' \udcff")


def test_a_table_is_what_editors_read() -> None:
    """It has seconds to calculate with, clock times to read, CRLF, and a mark for Excel."""
    data = make_person_table(SEEN)
    text = data.decode("utf-8-sig")

    assert data.startswith(b"\xef\xbb\xbf")
    assert [
        "video,start_s,end_s,start,end,faces,date,date_is",
        "a.mp4,3.000,6.500,00:00:03.000,00:00:06.500,3,1970-01-01T00:01:40Z,dropped",
        "a.mp4,3600.250,3601.250,01:00:00.250,01:00:01.250,1,1970-01-01T00:01:40Z,dropped",
        "",
    ] == text.split("\r\n")


def test_a_name_is_never_a_formula() -> None:
    """A spreadsheet must not evaluate the name of a folder."""
    names = ["=1+1", "+1", "-1", "@sum", "\t=1", "＝1", "Anna", '=HYPERLINK("x"),\r\n=2']
    rows = make_people_table([(7, name, [(CLIP, [Appearance(0.0, 1.0, 1)])]) for name in names])
    read = list(csv.reader(io.StringIO(rows.decode("utf-8-sig"), newline="")))

    assert ["person", "name", "video"] == read[0][:3]
    assert ["'" + name if name != "Anna" else name for name in names] == [
        row[1] for row in read[1:]
    ]
    assert {10} == {len(row) for row in read}


@given(st.lists(st.text(st.characters(exclude_categories=[])), min_size=1, max_size=3))
def test_any_name_is_one_cell(names: list[str]) -> None:
    """This holds for any characters, including lone surrogates."""
    data = make_csv(("name",), [(f"n{name}",) for name in names])

    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert len(names) + 1 == len(rows)
    assert {1} == {len(row) for row in rows}


def test_every_language_is_complete() -> None:
    """All have the same keys, and the same values to fill into each text."""
    texts = load_words()
    english = texts["en"]

    assert {"en", "de"} <= texts.keys()
    for language in texts.values():
        assert english.keys() == language.keys()
        for key, text in language.items():
            assert sorted(re.findall(r"\{\w+\}", english[key])) == sorted(
                re.findall(r"\{\w+\}", text)
            ), key


def test_pages_use_exactly_the_texts_of_the_table() -> None:
    """Every key that a page or script uses exists, and every key is used."""
    known = {key.removesuffix(".one").removesuffix(".other") for key in load_words()["en"]}
    texts = {name: data.decode() for name, data in {**load_static_files(), **PAGES}.items()}
    del texts["words.js"]
    everything = "\n".join(texts.values()) + render_status_page(status_view(), 0.0).decode()
    named = set(re.findall(r'data-text(?:-\w+)?="(\w+)"', everything))
    named |= set(re.findall(r'\btranslate\(\s*"(\w+)"', everything))

    assert set() == named - known
    quoted = set(re.findall(r'["`](\w+)["`]', everything)) | named
    prefixes = (
        "show_", "stage_", "order_", "missing_", "edit_", "notice_", "known_people", "question_"
    )  # fmt: skip
    made = {key for key in known if key.startswith(prefixes)}
    # Used indirectly (part(…), fact(…)), by Python only, or by the table itself.
    assert set() == known - quoted - made - {
        "unknown", "never", "nothing", "and_more", "blocked", "edits", "notices", "edits_help",
        "edits_help_command",
        "losses_asked", "losses_answers",
    }  # fmt: skip


def test_plural_forms_follow_the_count() -> None:
    """One person, two people, thousands with a comma."""
    assert ["1 person", "2 people", "5,000 people"] == [
        translate("people", n=n) for n in (1, 2, 5000)
    ]


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_an_inline_script_or_style(name: str) -> None:
    """Scripts and styles come from files, so the policy can forbid all others."""
    text = PAGES[name].decode()

    assert POLICY in text
    assert "unsafe" not in POLICY
    assert [] == re.findall(r"\son\w+\s*=", text)
    assert [] == re.findall(r"\sstyle\s*=|<style", text)
    assert [] == re.findall(r"<script(?![^>]*\ssrc=)", text)
    assert [] == re.findall(r"(?:src|href)=\"(?:https?:|//|data:)", text)


def test_no_script_inserts_html() -> None:
    """Names are inserted as text only."""
    for name, data in load_static_files().items():
        if name.endswith(".js") and name != "words.js":
            text = data.decode()
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text)
            assert not re.search(r"\beval\(|new Function|setAttribute\(\"on", text)
            assert not re.search(r"\bfetch\(|XMLHttpRequest|https?://(?!www\.w3\.org)", text), name
            assert 400 >= text.count("\n"), name


def test_the_index_loads_every_block() -> None:
    """Blocks are plain scripts: a page opened from a share can load nothing else."""
    text = render_index_page(3).decode()

    assert [f"gallery/data/people-000{n}.js" for n in (1, 2, 3)] == re.findall(
        r'src="(gallery/data/people-\d+\.js)"', text
    )
    assert "{" not in text


def test_the_status_page_is_complete_without_scripts() -> None:
    """It names running, waiting and failed files, and the time left."""
    text = shown(render_status_page(status_view(), now_s=1e9))

    for part in (
        "Finding faces", "40% of the footage processed", "Time left 5 min", "Waiting 1", "Failed 1",
        "long film.mp4 42%", "broken.mp4 no frame could be decoded", "next.mp4",
        "2001-09-09 01:46", "portraitd retry",
    ):  # fmt: skip
        assert part in text, text


def test_the_status_page_reports_when_all_is_done() -> None:
    """No work is left and nothing failed, so no list is shown."""
    rest = status_view(
        stage="idle", running=(), waiting=(), waiting_count=0, failed=(), failed_count=0,
        open_s=0.0, eta_s=0.0, grouped_at=None,
    )  # fmt: skip
    text = shown(render_status_page(rest, now_s=1e9))

    assert "Up to date" in text
    assert "Time left none" in text
    assert "Last grouped never" in text
    assert "retry" not in text
    assert 100 == rest.percent


def test_names_on_the_status_page_are_text() -> None:
    """A file may have any name."""
    name = "<script>alert('x')</script>.mp4"
    html = render_status_page(
        status_view(running=((name, 0.5),), failed=((name, "a < b & c"),)), 0.0
    )

    assert b"<script>alert" not in html
    assert 2 <= shown(html).count(name)
    assert "a < b & c" in shown(html)


def test_the_status_line_is_a_few_numbers_and_edits() -> None:
    """The index page translates them; a name is never markup."""
    text = PageText("edit_name", {"before": "person-0001", "name": "<b>Ann</b>"})
    notice = PageText("notice_folder_copied", {"location": "Ann 2"})
    view = status_view(
        blocked=("the <share>",),
        edits=(EditLine(7, text, 11.6, True),),
        notices=((notice, 10.2),),
        known_people=("Zoe",),
        questions=(
            (PageText("question_is", {"name": "<Ann>", "n": 2}), "_questions/01 <Ann>.jpg"),
        ),
    )
    line = make_status_line_script(view, now_s=12.4).decode()

    assert "<" not in line
    named = {"text": "edit_name", "values": {"before": "person-0001", "name": "<b>Ann</b>"}}
    copied = {"text": "notice_folder_copied", "values": {"location": "Ann 2"}}
    seldom = {"text": "known_people", "values": {"names": "Zoe"}}
    asked = {"text": "question_is", "values": {"name": "<Ann>", "n": 2}}
    assert {
        "stage": "faces", "percent": 40, "eta_s": 300, "waiting": 1, "failed": 1,
        "searched": [0, 0], "at": 12, "blocked": ["the <share>"],
        "edits": [[7, named, 12, 1]], "edits_help": "edits_help", "notices": [[copied, 10]],
        "known": [seldom], "questions": [[asked, "_questions/01%20%3CAnn%3E.jpg"]],
    } == json.loads(line.removeprefix("Gallery.status(").removesuffix(");\n"))  # fmt: skip


def test_edits_and_notices_stand_on_the_status_page() -> None:
    """In words, with number and time; what a name contains stays text."""
    text = PageText("edit_name", {"before": "person-0001", "name": "<b>'Ann'</b>"})
    notice = PageText("notice_portraits_copied", {"location": "Ann", "n": 2})
    view = status_view(edits=(EditLine(7, text, 60.0, True),), notices=((notice, 0.0),))
    page = render_status_page(view, now_s=0.0).decode()

    assert "person-0001 was named &lt;b&gt;&#x27;Ann&#x27;&lt;/b&gt;</span>" in page
    assert "“Ann”: 2 portraits were copied into it." in page
    assert '<time data-at="60"' in page
    assert ">undone<" in page
    assert "<b>" not in page


def test_files_that_are_not_listed_are_counted() -> None:
    """Only the first of many waiting files are listed."""
    text = shown(render_status_page(status_view(waiting_count=1201), now_s=0.0))

    assert "and 1,200 more" in text


def test_durations_are_formatted_by_size() -> None:
    """Seconds, minutes, or hours and minutes."""
    assert ["5 s", "12 min", "2 h 5 min"] == [
        format_duration(seconds) for seconds in (5.2, 700, 7500)
    ]
