"""STATUS.html: what is being done, what waits, what failed and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from portraitd.model.stage import Phase
from portraitd.people.pages.assets import render_page
from portraitd.people.pages.escaping import escape_html
from portraitd.people.pages.page_data import make_status_script
from portraitd.people.pages.words import translate

AT_REST: tuple[Phase, ...] = ("idle", "stopped")


@dataclass(frozen=True, slots=True)
class Notice:
    """How things stand. Two that are equal look the same.

    Attributes:
        running: Name of each file that is being processed, and the share of it that is done.
        waiting, failed: The first so many; the counts say how many there are.
        done_s, open_s: Seconds of footage.
        eta_s: Seconds of work left on all workers; None if unknown, 0 if there is none.
        census_at: When people were last grouped; None if never.
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
    census_at: float | None

    @property
    def percent(self) -> int:
        """Of the footage known, rounded down: it is 100 when nothing is left."""
        known_s = self.done_s + self.open_s
        return int(100 * self.done_s / known_s) if self.open_s else 100


def make_status_line_script(notice: Notice, now_s: float) -> bytes:
    """The short line on the page of all people."""
    return make_status_script(
        {
            "stage": notice.stage,
            "percent": notice.percent,
            "eta_s": round(notice.eta_s or 0),
            "waiting": notice.waiting_count,
            "failed": notice.failed_count,
            "at": round(now_s),
        }
    )


def render_status_page(notice: Notice, now_s: float) -> bytes:
    """The whole page. It says everything without a script, in English."""
    parts = [
        f"<h1 {_text_tag(f'stage_{notice.stage}')}</h1>",
        f'<p class="quiet">{_as_of(now_s)} '
        f'<strong id="silent" hidden {_text_tag("silent")}</strong></p>',
        _progress(notice),
        _figures(notice),
        _running(notice.running),
        _files("failed", notice.failed, notice.failed_count),
        _files("waiting", notice.waiting, notice.waiting_count),
    ]
    if notice.failed_count:
        parts.insert(-1, f'<p class="quiet small after" {_text_tag("failed_help")}</p>')
    busy = "" if notice.stage in AT_REST else "yes"
    written = f'<div data-written="{round(now_s)}" data-busy="{busy}">'
    content = "\n".join([written, *filter(None, parts), "</div>"])
    refresh = "60" if notice.stage in AT_REST else "5"
    return render_page(
        "status.html", refresh=refresh, title=escape_html(_title(notice)), content=content
    )


def _title(notice: Notice) -> str:
    stage = translate(f"stage_{notice.stage}")
    return f"{notice.percent} % · {stage}" if notice.open_s else stage


def _text_tag(key: str, **values: object) -> str:
    """The rest of an opening tag and its text: English now, other words later."""
    attribute = f" data-values='{escape_html(json.dumps(values))}'" if values else ""
    return f'data-say="{key}"{attribute}>{escape_html(translate(key, **values))}'


def _as_of(now_s: float) -> str:
    return f'<span data-say="as_of" data-values=\'{{"date": ""}}\'>As of </span>{_time(now_s)}.'


def _time(at_s: float) -> str:
    moment = datetime.fromtimestamp(at_s, UTC)
    shown = moment.strftime("%Y-%m-%d %H:%M UTC")
    return f'<time data-at="{round(at_s)}" datetime="{moment.isoformat()}">{shown}</time>'


def _progress(notice: Notice) -> str:
    if not notice.open_s:
        return ""
    label = _text_tag("progress", percent=notice.percent)
    return (
        f'<p class="part"><span id="progress-label" {label}</span></p>'
        f'<progress aria-labelledby="progress-label" max="100" value="{notice.percent}"></progress>'
    )


def _figures(notice: Notice) -> str:
    grouping_run = (
        _time(notice.census_at) if notice.census_at else f"<span {_text_tag('never')}</span>"
    )
    figures = [
        ("eta", _left(notice)),
        ("waiting_count", f"{notice.waiting_count:,}"),
        ("failed_count", f"{notice.failed_count:,}"),
        ("done", _span(notice.done_s)),
        ("grouping", f'<span class="small">{grouping_run}</span>'),
    ]
    cells = [f"<div><dt {_text_tag(key)}</dt><dd>{value}</dd></div>" for key, value in figures]
    return f'<dl class="stages">{"".join(cells)}</dl>'


def _left(notice: Notice) -> str:
    if not notice.open_s:
        return f"<span {_text_tag('nothing')}</span>"
    if notice.eta_s is None:
        return f'<span class="small" {_text_tag("unknown")}</span>'
    return _span(max(notice.eta_s, 1.0))


def _span(seconds: float) -> str:
    return f'<span data-span="{round(seconds)}">{format_duration(seconds)}</span>'


def format_duration(seconds: float) -> str:
    """``4 min``, in English."""
    if seconds < 90:
        return translate("seconds", n=round(seconds))
    minutes = round(seconds / 60)
    if seconds < 5400:
        return translate("minutes", n=minutes)
    return translate("hours_minutes", h=minutes // 60, m=minutes % 60)


def _running(running: Sequence[tuple[str, float]]) -> str:
    if not running:
        return ""
    return _list("running", [_running_line(name, share) for name, share in running])


def _running_line(name: str, share: float) -> str:
    shown, percent = escape_html(name), int(100 * share)
    return (
        f'<li><span class="pair"><span dir="auto">{shown}</span>'
        f'<span class="numbers quiet">{percent} %</span></span>'
        f'<progress aria-label="{shown}" max="100" value="{percent}"></progress></li>'
    )


def _files(key: str, files: Sequence[tuple[str, str]], count: int) -> str:
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
    return _list(key, lines)


def _list(key: str, lines: Sequence[str]) -> str:
    return (
        f'<section class="part"><h2 {_text_tag(key)}</h2>'
        f'<div class="inside"><ul class="rows">{"".join(lines)}</ul></div></section>'
    )
