"""The first page of the site: what holds, what fails and what is undecided, paper by paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from statformer.experiments.report.entries import STATUSES, Entry
from statformer.experiments.report.html import Html, element, join
from statformer.experiments.report.papers import in_order, title
from statformer.experiments.report.parts import (
    KINDS,
    NAME,
    SOURCES,
    arxiv_link,
    badge,
    commit_markup,
    counted,
    css_name,
    flags,
    mark,
    page,
    seconds_text,
)
from statformer.experiments.report.tables import scroll_box

_LEAD = (
    "Claims of papers, and our own, each with an experiment that could show it wrong. A claim "
    "holds or fails by a threshold that was written down before; it stays undecided where the "
    "interval reaches over the threshold, or where the run was too small to tell."
)


def overview(entries: Sequence[Entry]) -> Html:
    """The page. Claims can be filtered by verdict without a script."""
    papers = in_order(entry.paper for entry in entries)
    sections = [_paper(paper, [one for one in entries if one.paper == paper]) for paper in papers]
    return page(
        f"Claims and verdicts · {NAME}",
        element(
            "header",
            element("p", NAME, class_="site"),
            element("h1", "Every claim is an experiment with a verdict"),
            element("p", _LEAD, class_="lead"),
            _bar(entries),
        ),
        _papers_table(entries, papers),
        _filter(entries),
        *sections,
        element(
            "footer",
            element("p", *_kinds()),
            element(
                "p",
                "A threshold is the paper’s, derived from what it proves, or ours. Intervals are "
                "95 % bootstrap intervals over seeds. Times are sums over jobs.",
            ),
        ),
    )


def _count(entries: Sequence[Entry]) -> Counter[str]:
    return Counter(entry.status for entry in entries)


def _bar(entries: Sequence[Entry]) -> Html:
    """Shares of the verdicts as one bar; the numbers stand in the filter and the table."""
    counts = _count(entries)
    parts = [
        element("span", class_=css_name(status), style=f"flex-grow:{counts[status]}")
        for status in STATUSES
        if counts[status]
    ]
    return element("div", *parts, class_="bar", aria_hidden="true")


def _papers_table(entries: Sequence[Entry], papers: Sequence[str]) -> Html:
    heads = [
        element(
            "th",
            element("span", mark(status), element("span", status), class_=css_name(status)),
            scope="col",
        )
        for status in STATUSES
    ]
    lines = []
    for paper in papers:
        counts = _count([one for one in entries if one.paper == paper])
        link = element("a", title(paper), href=f"#paper-{paper}")
        cells = [
            element("td", counts[status], class_="" if counts[status] else "zero")
            for status in STATUSES
        ]
        lines.append(element("tr", element("th", link, scope="row"), *cells))
    total = _count(entries)
    foot = element(
        "tr",
        element("th", counted(len(entries), "claim"), scope="row"),
        *(element("td", total[status]) for status in STATUSES),
    )
    table = element(
        "table",
        element("thead", element("tr", element("th", "Paper", scope="col"), *heads)),
        element("tbody", *lines),
        element("tfoot", foot),
        class_="papers",
    )
    return scroll_box(table, "Verdicts by paper")


def _filter(entries: Sequence[Entry]) -> Html:
    counts = _count(entries)
    options: list[tuple[str, str, Html | None]] = [("all", f"all {len(entries)}", None)]
    options += [
        (css_name(status), f"{status} {counts[status]}", mark(status))
        for status in STATUSES
        if counts[status]
    ]
    pills = [
        join(
            element("input", type="radio", name="show", id=f"show-{key}", checked=key == "all"),
            element("label", shape, words, for_=f"show-{key}", class_=key),
        )
        for key, words, shape in options
    ]
    return element("fieldset", element("legend", "Show"), *pills, class_="filter")


def _paper(paper: str, entries: Sequence[Entry]) -> Html:
    return element(
        "section",
        element("h2", title(paper), id=f"paper-{paper}"),
        element("p", arxiv_link(paper), class_="where") if paper != "ours" else None,
        element("ul", *(_line(entry) for entry in entries), class_="claims"),
        class_="paper",
    )


def _line(entry: Entry) -> Html:
    result = entry.result
    facts: list[object] = [element("span", entry.kind, class_="kind", title=KINDS[entry.kind])]
    numbers = None
    if result is not None:
        verdict = result["verdict"]
        numbers = element(
            "p",
            element("span", "measured ", class_="label"),
            verdict["measured"],
            element("span", " · threshold ", class_="label"),
            verdict["threshold"],
            element("span", f" ({SOURCES[verdict['threshold_source']]})", class_="label"),
            class_="numbers",
        )
        facts += [
            element("span", counted(result["n_seeds"], "seed")),
            element("span", seconds_text(result["seconds"])),
            element("span", "commit ", commit_markup(result["head"])),
        ]
    link = element("a", entry.claim, href=f"claims/{entry.name}.html")
    return element(
        "li",
        badge(entry.status),
        element(
            "div",
            element("p", link, class_="claim"),
            numbers,
            element("p", *facts, *flags(entry), class_="facts"),
        ),
        class_=css_name(entry.status),
    )


def _kinds() -> list[object]:
    parts: list[object] = []
    for kind, means in KINDS.items():
        parts += [element("b", kind), f": {means}. "]
    return parts
