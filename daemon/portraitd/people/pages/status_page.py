"""Renders STATUS.html: what is being processed, what is waiting, what failed and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Self

from portraitd.faces.models.cards import MOBILEFACENET
from portraitd.model.reasons import NO_REASON, Reason, ReasonCode
from portraitd.model.stage import Phase
from portraitd.model.wording import to_display_text
from portraitd.people.pages.assets import render_page
from portraitd.people.pages.edit_words import describe_last_edits, describe_notice
from portraitd.people.pages.escaping import escape_html, quote_path
from portraitd.people.pages.page_data import make_status_script
from portraitd.people.pages.words import PageText, translate
from portraitd.store.snapshot import Snapshot

MAX_NOTICES = 20

MAX_KNOWN = 20

RESTING_PHASES: tuple[Phase, ...] = ("idle", "stopped")


class EditLine(NamedTuple):
    """An edit on a page: its number in the ledger, and when it was recorded."""

    entry: int
    text: PageText
    at: float
    is_undone: bool


@dataclass(frozen=True, slots=True)
class StatusView:
    """What STATUS.html shows. Equal values give the same page, except for the time.

    Attributes:
        running: Name of each file that is being processed, and the share that is done.
        waiting, failed: Name and reason of the first files; the counts are of all files.
        done_s, open_s: Seconds of footage that are done and that are left.
        eta_s: Seconds until all workers are done; None if unknown, 0 if no work is left.
        grouped_at: When people were last grouped; None if never.
        missing_models: Recommended models that are missing.
        indistinct_faces: Faces of people whom the model in use cannot tell apart;
        has_better_model: and whether a recommended one may.
        blocked: What only a person can remedy; a sentence in English where there is no text.
        edits: The last edits, the newest first.
        notices: What reviewers did that was not understood, and when, the newest first.
        known_people: Names of the people who are known from a picture and were not seen yet.
        searched: Number of videos, and of photos, in which faces were looked for.
        questions: What reviewers are asked, each with the path of its picture.
        has_edit_cards: Whether the last edits are files in the tree, with which they are undone.
    """

    stage: Phase
    running: Sequence[tuple[str, float]]
    waiting: Sequence[tuple[str, str]]
    waiting_count: int
    failed: Sequence[tuple[str, str]]
    failed_count: int
    done_s: float
    open_s: float
    eta_s: float | None
    grouped_at: float | None
    missing_models: tuple[str, ...] = ()
    indistinct_faces: int = 0
    has_better_model: bool = False
    blocked: tuple[str | PageText, ...] = ()
    edits: tuple[EditLine, ...] = ()
    notices: tuple[tuple[PageText, float], ...] = ()
    known_people: tuple[str, ...] = ()
    searched: tuple[int, int] = (0, 0)
    questions: tuple[tuple[PageText, str], ...] = ()
    has_edit_cards: bool = True

    @classmethod
    def of(
        cls,
        phase: Phase,
        snapshot: Snapshot,
        blocked: Reason = NO_REASON,
        questions: Sequence[tuple[PageText, str]] = (),
        *,
        has_edit_cards: bool = True,
    ) -> Self:
        """Return what the page shows of a snapshot.

        Args:
            phase: What the service is doing.
            snapshot: How things stand.
            blocked: Why a stage of the running service cannot go on.
            questions: What reviewers are asked, each with the path of its picture.
            has_edit_cards: Whether the last edits are files in the tree.
        """
        return cls(
            stage=phase,
            running=snapshot.running,
            waiting=tuple((path, reason.text) for path, reason in snapshot.waiting),
            waiting_count=snapshot.waiting_count,
            failed=tuple((path, reason.text) for path, reason in snapshot.failed),
            failed_count=snapshot.failed_count,
            done_s=snapshot.footage.footage_done_s,
            open_s=snapshot.footage.footage_open_s,
            eta_s=snapshot.eta_s,
            grouped_at=snapshot.grouping.finished_at if snapshot.grouping else None,
            missing_models=snapshot.missing_models,
            indistinct_faces=snapshot.grouping.indistinct_faces if snapshot.grouping else 0,
            blocked=_describe_blocked(snapshot, blocked),
            has_better_model=snapshot.confused_embedder not in ("", MOBILEFACENET.name),
            edits=tuple(
                EditLine(one.id, text, one.at, one.is_undone)
                for one, text in describe_last_edits(snapshot.edits)
            ),
            notices=tuple(
                (describe_notice(one), one.at)
                for one in snapshot.notices[:MAX_NOTICES]
                if one.code is not ReasonCode.PORTRAITS_DISAPPEARED
            ),
            known_people=snapshot.known_people,
            searched=snapshot.searched,
            questions=tuple(questions),
            has_edit_cards=has_edit_cards,
        )

    @property
    def edits_help(self) -> str:
        """Key of the text about how to undo an edit."""
        return "edits_help" if self.has_edit_cards else "edits_help_command"

    @property
    def percent(self) -> int:
        """The share of the footage that is done, rounded down: 100 only if nothing is left."""
        known_s = self.done_s + self.open_s
        return int(100 * self.done_s / known_s) if self.open_s else 100


def _describe_blocked(snapshot: Snapshot, blocked: Reason) -> tuple[str | PageText, ...]:
    reasons = [*snapshot.blocked_stages.values()]
    if blocked and blocked not in reasons:
        reasons.append(blocked)
    # This one is asked and answered on the pages; the sentence is for commands.
    asked: dict[ReasonCode, str | PageText] = {
        one.code: describe_notice(one)
        for one in snapshot.notices
        if one.code is ReasonCode.PORTRAITS_DISAPPEARED
    }
    return tuple(asked.get(reason.code, reason.text) for reason in reasons)


def make_status_line_script(view: StatusView, now_s: float) -> bytes:
    """Return the script with the status line of the index page."""
    return make_status_script(
        {
            "stage": view.stage,
            "percent": view.percent,
            "eta_s": round(view.eta_s or 0),
            "waiting": view.waiting_count,
            "failed": view.failed_count,
            "searched": view.searched,
            "at": round(now_s),
            "blocked": [
                to_display_text(reason) if isinstance(reason, str) else reason.as_json()
                for reason in view.blocked
            ],
            "edits": [
                [one.entry, one.text.as_json(), round(one.at), int(one.is_undone)]
                for one in view.edits
            ],
            "edits_help": view.edits_help,
            "notices": [[text.as_json(), round(at)] for text, at in view.notices],
            "known": [text.as_json() for text in describe_known(view.known_people)],
            "questions": [[text.as_json(), quote_path(path)] for text, path in view.questions],
        }
    )


def describe_known(names: Sequence[str]) -> list[PageText]:
    """Return who is known from a picture and was not seen yet, in words; empty without one."""
    if not names:
        return []
    listed = ", ".join(map(to_display_text, names[:MAX_KNOWN]))
    more = len(names) - MAX_KNOWN
    if more > 0:
        return [PageText("known_people_more", {"names": listed, "n": more})]
    return [PageText("known_people", {"names": listed})]


def render_status_page(view: StatusView, now_s: float) -> bytes:
    """Return the page. Without scripts it is complete and in English."""
    parts = [
        f"<h1 {_text_tag(_head_of(view))}</h1>",
        f'<p class="quiet">{_render_as_of(now_s)} '
        f'<strong id="silent" hidden {_text_tag("silent")}</strong></p>',
        _render_progress(view),
        _render_blocked(view),
        _render_notices(view.notices),
        _render_questions(view.questions),
        _render_figures(view),
        *(
            f'<p class="quiet small after" dir="auto" {_text_tag(text.key, **text.values)}</p>'
            for text in describe_known(view.known_people)
        ),
        _render_edits(view),
        _render_running(view.running),
        _render_files("failed", view.failed, view.failed_count),
        _render_files("waiting", view.waiting, view.waiting_count),
    ]
    if view.failed_count:
        parts.insert(-1, f'<p class="quiet small after" {_text_tag("failed_help")}</p>')
    if view.indistinct_faces:
        parts.append(_render_indistinct(view))
    if view.missing_models:
        key = f"missing_{'embedder' if MOBILEFACENET.name in view.missing_models else 'detector'}"
        parts.append(f'<p class="quiet small after" {_text_tag(key)}</p>')
    busy = "" if view.stage in RESTING_PHASES else "yes"
    written = f'<div data-written="{round(now_s)}" data-busy="{busy}">'
    content = "\n".join([written, *filter(None, parts), "</div>"])
    refresh = "60" if view.stage in RESTING_PHASES else "5"
    return render_page(
        "status.html", refresh=refresh, title=escape_html(_make_title(view)), content=content
    )


def _render_indistinct(view: StatusView) -> str:
    line = f"<span {_text_tag('indistinct_faces', n=view.indistinct_faces)}</span>"
    if view.has_better_model:
        line += f" <span {_text_tag('add_recommended')}</span>"
    return f'<p class="quiet small after">{line}</p>'


def _head_of(view: StatusView) -> str:
    """Return the key of the headline: what blocks the service matters more than what it does."""
    return "blocked" if view.blocked and view.stage != "stopped" else f"stage_{view.stage}"


def _make_title(view: StatusView) -> str:
    stage = translate(_head_of(view))
    return f"{view.percent}% · {stage}" if view.open_s else stage


def _text_tag(key: str, **values: str | int | PageText) -> str:
    """Return the rest of an opening tag, and its text in English for scripts to translate."""
    text = PageText(key, values)
    facts = json.dumps(text.as_json()["values"])
    attribute = f" data-values='{escape_html(facts)}'" if values else ""
    return f'data-text="{key}"{attribute}>{escape_html(str(text))}'


def _render_as_of(now_s: float) -> str:
    time = _render_time(now_s)
    return f'<span data-text="as_of" data-values=\'{{"date": ""}}\'>As of </span>{time}.'


def _render_time(at_s: float) -> str:
    moment = datetime.fromtimestamp(at_s, UTC)
    text = moment.strftime("%Y-%m-%d %H:%M UTC")
    return f'<time data-at="{round(at_s)}" datetime="{moment.isoformat()}">{text}</time>'


def _render_progress(view: StatusView) -> str:
    if not view.open_s:
        return ""
    label = _text_tag("progress", percent=view.percent)
    return (
        f'<p class="part"><span id="progress-label" {label}</span></p>'
        f'<progress aria-labelledby="progress-label" max="100" value="{view.percent}"></progress>'
    )


def _render_figures(view: StatusView) -> str:
    grouping_run = (
        _render_time(view.grouped_at) if view.grouped_at else f"<span {_text_tag('never')}</span>"
    )
    figures = [
        ("eta", _render_time_left(view)),
        ("waiting_count", f"{view.waiting_count:,}"),
        ("failed_count", f"{view.failed_count:,}"),
        ("done", _render_duration(view.done_s)),
        ("grouping", f'<span class="small">{grouping_run}</span>'),
    ]
    cells = [f"<div><dt {_text_tag(key)}</dt><dd>{value}</dd></div>" for key, value in figures]
    return f'<dl class="stages">{"".join(cells)}</dl>'


def _render_time_left(view: StatusView) -> str:
    if not view.open_s:
        return f"<span {_text_tag('nothing')}</span>"
    if view.eta_s is None:
        return f'<span class="small" {_text_tag("unknown")}</span>'
    return _render_duration(max(view.eta_s, 1.0))


def _render_duration(seconds: float) -> str:
    return f'<span data-duration="{round(seconds)}">{format_duration(seconds)}</span>'


def format_duration(seconds: float) -> str:
    """Return a duration in English, such as ``4 min``."""
    if seconds < 90:
        return translate("seconds", n=round(seconds))
    minutes = round(seconds / 60)
    if seconds < 5400:
        return translate("minutes", n=minutes)
    return translate("hours_minutes", h=minutes // 60, m=minutes % 60)


def _render_running(running: Sequence[tuple[str, float]]) -> str:
    if not running:
        return ""
    return _render_list("running", [_render_running_line(name, share) for name, share in running])


def _render_running_line(name: str, share: float) -> str:
    text, percent = escape_html(name), int(100 * share)
    return (
        f'<li><span class="pair"><span dir="auto">{text}</span>'
        f'<span class="numbers quiet" {_text_tag("percent", n=percent)}</span></span>'
        f'<progress aria-label="{text}" max="100" value="{percent}"></progress></li>'
    )


def _render_blocked(view: StatusView) -> str:
    if not view.blocked:
        return ""
    lines = [
        f'<li><span class="reason small" dir="auto"{_render_reason(reason)}</span></li>'
        for reason in view.blocked
    ]
    # The headline of the page may say it already.
    return _render_list("blocked", lines, has_heading=_head_of(view) != "blocked")


def _render_notices(notices: Sequence[tuple[PageText, float]]) -> str:
    if not notices:
        return ""
    lines = [
        f'<li><span class="pair"><span dir="auto" {_text_tag(text.key, **text.values)}</span>'
        f'<span class="quiet small numbers">{_render_time(at)}</span></span></li>'
        for text, at in notices
    ]
    return _render_list("notices", lines)


def _render_questions(questions: Sequence[tuple[PageText, str]]) -> str:
    if not questions:
        return ""
    lines = [
        f'<li><a href="{quote_path(path)}" dir="auto" {_text_tag(text.key, **text.values)}</a></li>'
        for text, path in questions
    ]
    return _render_list("questions", lines) + (
        f'<p class="quiet small after" {_text_tag("questions_help")}</p>'
    )


def _render_edits(view: StatusView) -> str:
    if not view.edits:
        return ""
    lines = [_render_edit(one) for one in view.edits]
    return _render_list("edits", lines) + (
        f'<p class="quiet small after" {_text_tag(view.edits_help)}</p>'
    )


def _render_edit(one: EditLine) -> str:
    style = ' class="undone"' if one.is_undone else ""
    text = f'<span dir="auto"{style} {_text_tag(one.text.key, **one.text.values)}</span>'
    mark = f' <span class="quiet" {_text_tag("edit_undone")}</span>' if one.is_undone else ""
    number = f'<span class="quiet numbers">{one.entry}</span>'
    return (
        f'<li><span class="pair"><span>{number} {text}{mark}</span>'
        f'<span class="quiet small numbers">{_render_time(one.at)}</span></span></li>'
    )


def _render_reason(reason: str | PageText) -> str:
    if isinstance(reason, str):
        return f">{escape_html(reason)}"
    return f" {_text_tag(reason.key, **reason.values)}"


def _render_files(key: str, files: Sequence[tuple[str, str]], count: int) -> str:
    if not files:
        return ""
    kind = "reason small" if key == "failed" else "quiet small"
    lines = [
        f'<li><span class="pair"><span dir="auto">{escape_html(name)}</span>'
        f'<span class="{kind}" dir="auto">{escape_html(reason)}</span></span></li>'
        for name, reason in files
    ]
    if count > len(files):
        lines.append(f'<li class="quiet" {_text_tag("and_more", n=count - len(files))}</li>')
    return _render_list(key, lines)


def _render_list(key: str, lines: Sequence[str], *, has_heading: bool = True) -> str:
    heading = f"<h2 {_text_tag(key)}</h2>" if has_heading else ""
    return (
        f'<section class="part">{heading}'
        f'<div class="inside"><ul class="rows">{"".join(lines)}</ul></div></section>'
    )
