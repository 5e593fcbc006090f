"""Pieces that several pages of the site share: shell, verdict marks, times, commits, links."""

from __future__ import annotations

from typing import Any

from statformer.experiments.report.entries import Entry, Shown
from statformer.experiments.report.html import Html, element, join

NAME = "statformer laboratory"
KINDS = {
    "existence": "weights exist",
    "learnability": "training finds them",
    "mechanism": "the trained network works that way",
}
SOURCES = {
    "paper": "the paper’s",
    "derived": "derived from the paper",
    "ours": "ours",
}
# Each status has a shape of its own, so that it is read without colour.
_SHAPES = {
    "holds": '<circle cx="8" cy="8" r="8"/><path class="cut" d="M4.2 8.4l2.6 2.6 5-5.6"/>',
    "fails": '<rect width="16" height="16" rx="2"/><path class="cut" d="M4.6 4.6l6.8 6.8m0-6.8'
    'l-6.8 6.8"/>',
    "undecided": '<path d="M8 0l8 8-8 8-8-8z"/><path class="cut" d="M4.6 8h6.8"/>',
    "not run": '<circle class="hollow" cx="8" cy="8" r="6.8"/>',
}


def page(title: str, *body: object, root: str = "") -> Html:
    """A whole page; `root` leads from it to the folder of the site."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="stylesheet", href=f"{root}site.css"),
    )
    return join(
        Html("<!doctype html>\n"),
        element("html", head, element("body", element("main", *body)), lang="en"),
        Html("\n"),
    )


def mark(status: Shown) -> Html:
    """The shape of a status, hidden from readers of text, who get the word beside it."""
    shape = Html(_SHAPES[status])
    return element(
        "svg", shape, class_="mark", viewBox="0 0 16 16", aria_hidden="true", focusable="false"
    )


def badge(status: Shown, size: str = "") -> Html:
    """Shape and word of a status."""
    name = f"badge {css_name(status)} {size}".strip()
    return element("span", mark(status), element("span", status), class_=name)


def css_name(status: Shown) -> str:
    """The status as a class."""
    return status.replace(" ", "-")


def flags(entry: Entry) -> list[Html]:
    """What a reader should know before taking the verdict: other setting, provisional."""
    found = []
    if entry.not_the_authors:
        found.append(element("span", "not the authors’ setting", class_="flag"))
    result = entry.result
    if result is not None and result["provisional"]:
        found.append(element("span", "provisional", class_="flag"))
    if result is not None and result["size"] != "full":
        found.append(element("span", f"{result['size']} size", class_="flag"))
    return found


def arxiv_link(paper: str) -> Html | None:
    """A link to the paper; None for claims of our own."""
    if paper == "ours":
        return None
    return element("a", f"arXiv:{paper}", href=f"https://arxiv.org/abs/{paper}", class_="arxiv")


def seconds_text(seconds: float) -> str:
    """0.4 s, 12 s, 3.5 min or 2.1 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def counted(count: int, noun: str) -> str:
    """1 seed, 2 seeds."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def commit_markup(commit: Any) -> Html:
    """The first ten digits, the whole of it on hover."""
    if not commit:
        return join("no commit known")
    return element("code", str(commit)[:10], title=commit)
