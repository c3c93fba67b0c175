"""``report.html`` in a real browser, without a network: it renders, answers the mouse, switches its axis, and is quick.

The browser is Debian's Chromium (or the one that CHROMIUM names); screenshots stay in pytest's folder of the test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from supernet.cli import compare
from supernet.report import Images, write_html
from tests.page_run import describe, make_run, networks

pytestmark = pytest.mark.browser
LONGEST_LOAD = 2.0  # seconds
#: Of a mark, by the name that its tooltip says: where it is on the screen, in the figure of the tab that is shown.
PLACE = """name => {
  for (const plot of Bokeh.index.query(view => view.model.type === "Figure")) {
    if (getComputedStyle(plot.el).visibility !== "visible") continue;
    for (const part of plot.renderer_views.values()) {
      const data = part.model.data_source?.data;
      const index = data?.what ? Array.from(data.name).indexOf(name) : -1;
      if (index < 0) continue;
      const area = plot.canvas_view.el.getBoundingClientRect();
      return [area.x + part.glyph.sx[index], area.y + part.glyph.sy[index]];
    }
  }
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert program is not None, "no Chromium: apt-get install chromium, or name one in CHROMIUM"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Tab:
    """An opened file, what it said and asked for meanwhile, and the seconds that it took."""

    def __init__(self, browser: Any, file: Path, width: int = 1200, touch: bool = False) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, has_touch=touch)
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.faults.append(said.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        # Processor time of the page's thread, which other work on the machine does not lengthen.
        meter = self.page.context.new_cdp_session(self.page)
        meter.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.page.goto(file.as_uri())
        self.page.wait_for_function("Bokeh.documents.length && Bokeh.documents.every(one => one.is_idle)")
        figures = {figure["name"]: figure["value"] for figure in meter.send("Performance.getMetrics")["metrics"]}
        self.seconds = figures["TaskDuration"]

    def point_at(self, name: str, *, touch: bool = False) -> str:
        """Move the mouse onto a mark, or touch it; the tooltip that it gets."""
        x, y = self.page.evaluate(PLACE, name)
        self.page.touchscreen.tap(x, y) if touch else self.page.mouse.move(x, y)
        tip = self.page.locator(".bk-Tooltip div", has=self.page.locator("b")).filter(visible=True).last
        tip.wait_for()
        return str(tip.inner_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def report(folder: Path) -> Path:
    jpeg = cv2.imencode(".jpg", np.full((96, 96, 3), 200, np.uint8))[1].tobytes()
    images = [Images(name, "", [jpeg] * 4) for name in ("Truth", "XS", "L")]
    commands = {"XS": [("Poses", "python tools/demo.py")]}
    return write_html(folder, describe=describe, networks=networks(folder), images=images, deploy=commands)


def test_the_report_renders_answers_and_is_quick(browser: Any, folder: Path) -> None:
    file = report(folder)
    tab = Tab(browser, file)
    tab.page.screenshot(path=folder / "report.png", full_page=True)
    assert tab.seconds <= LONGEST_LOAD
    assert tab.page.locator("#costs canvas").first.is_visible()
    assert tab.page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")

    tip = tab.point_at("L")
    assert tip.startswith("L · ") and "240 MMACs" in tip and "stages 1: width" in tip
    tab.page.screenshot(path=folder / "hover.png")

    tab.page.locator(".bk-tab", has_text="Parameters").click()
    assert tab.page.locator(".bk-tab.bk-active").inner_text() == "Parameters"
    assert tab.point_at("front-2").startswith("front-2 · searched front")
    tab.page.screenshot(path=folder / "parameters.png")

    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.page.locator(".command button").first.click()
    tab.page.locator(".command button", has_text="copied").wait_for()  # the clipboard answers when it likes
    assert tab.page.evaluate("navigator.clipboard.readText()") == "python tools/demo.py"
    assert tab.faults == [] and [url for url in tab.asked if not url.startswith("data:")] == [file.as_uri()]


def test_a_name_in_a_tooltip_is_a_name(browser: Any, folder: Path) -> None:
    evil = """<img src="data:," onerror="document.title = 'evil'">"""
    front = pd.read_csv(folder / "front.csv")
    front.assign(name=evil).to_csv(folder / "front.csv", index=False)
    tab = Tab(browser, report(folder))
    assert tab.point_at(evil).startswith(f"{evil} · searched front")
    assert tab.page.title() == "run" and tab.faults == []


def test_a_telephone_is_wide_enough_and_a_touch_is_answered(browser: Any, folder: Path) -> None:
    tab = Tab(browser, report(folder), width=390, touch=True)
    assert tab.point_at("front-2", touch=True).startswith("front-2 · searched front")
    tab.page.screenshot(path=folder / "telephone.png", full_page=True)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.faults == []


def test_runs_beside_one_another_render(browser: Any, folder: Path) -> None:
    (folder / "config.yaml").write_text("DATASET: {DATASET: crowd_pose_kpt}\n")
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    front = pd.read_csv(folder / "front.csv")
    front.assign(AP=front["AP"] - 0.1).to_csv(other / "front.csv", index=False)
    file = folder.with_name("compare.html")
    compare.main([str(folder), str(other), "--out", str(file)])
    tab = Tab(browser, file)
    tab.page.screenshot(path=folder / "compare.png", full_page=True)
    assert tab.point_at("front-2").startswith("front-2 · run: front")
    assert tab.faults == [] and tab.seconds <= LONGEST_LOAD
