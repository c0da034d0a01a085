"""Opens pages as files in a real browser, and measures them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, Locator, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


class PageVisit:
    """An open page, what it loaded, and the problems it reported."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.loaded: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self.loaded.append(request.url))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("requestfailed", self._on_failed_request)
        page.on("console", self._on_console)

    def _on_failed_request(self, request: Any) -> None:
        # Leaving a page aborts what it was loading.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"{request.failure}: {request.url}")

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    @property
    def bytes(self) -> int:
        """The total size of everything that was loaded."""
        return sum(Path(unquote(urlsplit(url).path)).stat().st_size for url in set(self.loaded))


@contextmanager
def visit(browser: Browser, address: str, **kind: Any) -> Iterator[PageVisit]:
    """Open a page, and check when leaving it that it reported no problem."""
    usual: dict[str, Any] = {"viewport": DESKTOP, "locale": "en-GB", "timezone_id": "UTC"}
    context = browser.new_context(**usual | kind)
    try:
        visit = PageVisit(context.new_page())
        visit.page.set_default_timeout(60_000)
        visit.page.goto(address)
        yield visit
        assert [] == visit.problems
        assert {"file"} == {urlsplit(url).scheme for url in visit.loaded}
    finally:
        context.close()


def index_url(people: Path) -> str:
    return (people / "index.html").as_uri()


def person_url(people: Path, number: int) -> str:
    return f"{(people / 'gallery/person.html').as_uri()}#{number}"


def screenshot(page: Page, name: str, full: bool = False) -> None:
    folder = os.environ.get("PORTRAITD_SCREENSHOTS")
    if folder:
        for _ in range(5 if full else 0):
            # Images load when they come near the viewport.
            page.mouse.wheel(0, 900)
            page.wait_for_timeout(100)
        wait_for_images(page)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=full)


# Each wait is one evaluation: polling in the page would need `eval`, which its policy forbids.


def wait_for_images(page: Page) -> None:
    """Wait until every requested image has loaded."""
    page.evaluate(
        """
        () => Promise.all([...document.images].map((image) =>
          !image.src || image.complete ? null : new Promise((resolve) => {
            image.addEventListener("load", resolve);
            image.addEventListener("error", resolve);
          })))
        """
    )


def wait_for_image(picture: Locator) -> None:
    """Wait until an image has loaded; one that is not requested yet counts as complete."""
    picture.evaluate(
        """
        (image) => image.naturalWidth > 0 ? null : new Promise((resolve, reject) => {
          image.addEventListener("load", resolve);
          image.addEventListener("error", reject);
        })
        """
    )


def paint_times(page: Page) -> dict[str, float]:
    """Return the milliseconds until the first and the largest paint."""
    return page.evaluate(
        """
        async () => {
          const last = (type, name) => new Promise((resolve) => {
            new PerformanceObserver((list) => {
              const found = list.getEntries().filter((one) => !name || one.name === name);
              if (found.length) resolve(found.at(-1).startTime);
            }).observe({ type, buffered: true });
          });
          return {
            first: await last("paint", "first-contentful-paint"),
            largest: await last("largest-contentful-paint"),
          };
        }
        """
    )


def focused_name(page: Page) -> str:
    return page.evaluate("document.activeElement.querySelector('.name')?.textContent ?? ''")


def names(page: Page) -> list[str]:
    return page.locator(".person .name").all_text_contents()


NAMELESS = """
() => [...document.querySelectorAll("a, button, input, select, svg, img, progress")]
  .filter((one) => {
    if (one.tagName === "IMG") return !one.hasAttribute("alt");
    const by = one.getAttribute("aria-labelledby");
    const label = one.getAttribute("aria-label") || (by && document.getElementById(by).textContent);
    return !(label || one.textContent || one.labels?.[0]?.textContent || "").trim();
  })
  .map((one) => one.outerHTML.slice(0, 120))
"""

CONTRASTS = """
() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = (colour) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    const isMeant = text && !element.closest("button:disabled, .skip, option");
    if (!isMeant || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = parts(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [luminance(ink), luminance(ground(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) poor.push(`${text.slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return poor;
}
"""
