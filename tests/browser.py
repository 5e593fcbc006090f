"""Looks at pages in headless Chromium, without a driver: a page of ours frames them one by one.

The framing page measures what it frames and leaves its findings in its own text.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SCHEMES = {"dark": 0, "light": 1}
_FOUND = re.compile(r'<pre id="found">(.*?)</pre>', re.DOTALL)
_PROBE = r"""<!doctype html><meta charset="utf-8"><pre id="found"></pre><script>
const jobs = JOBS, found = [];
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const numbers = text => (text.match(/[\d.]+/g) || []).map(Number);
const contrast = (a, b) => {
  const [x, y] = [light(a), light(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
};
function behind(view, element) {
  for (let at = element; at; at = at.parentElement) {
    const colour = numbers(view.getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
}
function look(frame, job) {
  const view = frame.contentWindow, page = frame.contentDocument, root = page.documentElement;
  for (const id of job.click) page.getElementById(id).click();
  const wide = [], faint = [], boxes = [];
  for (const element of page.body.querySelectorAll("*")) {
    const style = view.getComputedStyle(element), box = element.getBoundingClientRect();
    if (!box.width || style.clipPath !== "none" || !element.checkVisibility()) continue;
    if (element.classList.contains("scroll")) boxes.push([box.width, element.scrollWidth]);
    const scrolls = element.closest(".scroll, pre, svg");
    if (box.right > job.width + 1 && !scrolls) wide.push(element.tagName);
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own) continue;
    const colour = element.ownerSVGElement ? style.fill : style.color;
    const ratio = contrast(numbers(colour), behind(view, element));
    if (ratio < 4.5) faint.push([element.tagName, element.textContent.slice(0, 40), ratio]);
  }
  found.push({
    page: job.page, width: view.innerWidth, scroll_width: root.scrollWidth, wide, faint, boxes,
    paper: view.getComputedStyle(page.body).backgroundColor,
    ink: view.getComputedStyle(page.body).color,
    chart: [...page.querySelectorAll(".chart text")].map(t => view.getComputedStyle(t).fill),
    loaded: view.performance.getEntriesByType("resource").map(entry => entry.name),
    rules: [...page.styleSheets].map(sheet => sheet.cssRules.length),
    claims: [...page.querySelectorAll(".claims > li")].filter(li => li.checkVisibility()).length,
    papers: [...page.querySelectorAll("section.paper")].filter(s => s.checkVisibility()).length,
  });
}
function next() {
  const job = jobs.shift();
  if (!job) { document.getElementById("found").textContent = JSON.stringify(found); return; }
  const frame = document.createElement("iframe");
  frame.style = `border:0;height:800px;width:${job.width}px`;
  frame.onload = () => { look(frame, job); frame.remove(); next(); };
  frame.src = job.page;
  document.body.append(frame);
}
next();
</script>"""


def find_browser() -> str | None:
    """A Chromium on the path, under any of its names; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def look(
    folder: Path, jobs: Sequence[Mapping[str, Any]], *, scheme: str = "light"
) -> tuple[list[dict[str, Any]], list[str]]:
    """What is found on each page, and what the browser wrote to its console.

    folder  where the pages are
    jobs    page (relative to `folder`), width in pixels, and ids of elements to click first
    scheme  what the reader prefers: light or dark
    """
    browser = find_browser()
    assert browser is not None
    whole = [{"click": [], "width": 360, **job} for job in jobs]
    probe = folder / "probe.html"
    probe.write_text(_PROBE.replace("JOBS", json.dumps(whole)), encoding="utf-8")
    done = subprocess.run(
        [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            f"--blink-settings=preferredColorScheme={_SCHEMES[scheme]}",
            f"--user-data-dir={folder / '.profile'}",
            "--virtual-time-budget=60000",
            "--window-size=1400,900",
            "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    probe.unlink()
    match = _FOUND.search(done.stdout)
    assert match, f"no findings in {done.stdout[-500:]!r}; {done.stderr[-2000:]}"
    assert match[1], f"the page threw an error: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(match[1])), console
