"""A page of the site for one claim: verdict, figure, numbers, controls, and how to run it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from statformer.experiments.report.entries import Entry
from statformer.experiments.report.html import Html, element, join
from statformer.experiments.report.papers import title
from statformer.experiments.report.parts import (
    KINDS,
    NAME,
    SOURCES,
    arxiv_link,
    badge,
    commit_markup,
    counted,
    flags,
    page,
    seconds_text,
)
from statformer.experiments.report.tables import (
    scroll_box,
    summarise,
    table_markup,
    value_text,
)

_LONGEST_ERROR = 400


@dataclass(frozen=True)
class Figure:
    """A chart as drawn: an `<svg>` for each panel, and the caption."""

    panels: Sequence[str]
    caption: str


def claim_page(entry: Entry, table: pd.DataFrame | None, figure: Figure | None) -> Html:
    """The page. `table` has the rows of the deciding run; None where there is no result."""
    parts: list[Html | None] = [_header(entry)]
    if entry.result is None:
        lines = [("Source", entry.source), ("Not the authors’", entry.not_the_authors)]
        command = _command(f"statformer experiments run {entry.name} --quick")
        parts += [element("section", _definitions(lines)), _section("Not run yet", command)]
    else:
        parts += [
            _verdict(entry, entry.result),
            _figure(entry.name, figure),
            _results(entry.name, entry.result, table),
            _failures(entry.result),
            _controls(entry.result),
            _run(entry.result),
        ]
    return page(f"{entry.claim} · {NAME}", *parts, root="../")


def _header(entry: Entry) -> Html:
    back = element("a", NAME, href=f"../index.html#paper-{entry.paper}")
    return element(
        "header",
        element("p", back, class_="site"),
        element("p", title(entry.paper), " ", arxiv_link(entry.paper), class_="where"),
        element("h1", entry.claim),
        element(
            "p",
            badge(entry.status, "large"),
            element("span", entry.kind, ": ", KINDS[entry.kind], class_="kind"),
            *flags(entry),
            class_="facts",
        ),
    )


def _verdict(entry: Entry, result: Mapping[str, Any]) -> Html:
    verdict, thresholds = result["verdict"], result["thresholds"]
    lines = [
        ("Measured", verdict["measured"]),
        ("Threshold", join(verdict["threshold"], _aside(SOURCES[verdict["threshold_source"]]))),
        ("Reason", verdict["reason"]),
        ("Provisional", result["provisional"]),
        ("Source", entry.source),
        ("Not the authors’", entry.not_the_authors),
        ("Thresholds fixed", _fixed(thresholds, result["started"])),
        ("Other sizes", _smaller(entry)),
    ]
    return element("section", _definitions(lines), class_="verdict")


def _fixed(thresholds: Mapping[str, Any], started: str) -> Html:
    """The commit of the thresholds, and whether it is older than the run."""
    if not thresholds["commit"]:
        return join("before the run: not known", _aside(thresholds["note"]))
    commit, date = commit_markup(thresholds["commit"]), thresholds["date"]
    if not thresholds["is_clean"]:
        return join("the file had changes after commit ", commit, _aside(thresholds["note"]))
    if date and datetime.fromisoformat(date) <= datetime.fromisoformat(started):
        return join("before the run, in commit ", commit, _aside(_when(date)))
    return join("after the run, in commit ", commit, _aside(_when(date) if date else ""))


def _smaller(entry: Entry) -> Html | None:
    if not entry.smaller:
        return None
    sizes = [f"{one['size']}: {one['verdict']['status']}" for one in entry.smaller]
    return join("; ".join(sizes), _aside("the largest size decides"))


def _figure(name: str, figure: Figure | None) -> Html | None:
    if figure is None:
        return None
    panels = [Html(svg) for svg in figure.panels]
    return element(
        "figure",
        element("div", *panels, class_="panels"),
        element(
            "figcaption",
            figure.caption,
            " " if figure.caption else "",
            element("a", "The figure as SVG", href=f"../figures/{name}.svg"),
        ),
    )


def _results(name: str, result: Mapping[str, Any], table: pd.DataFrame | None) -> Html:
    if table is None or table.empty:
        return _section("Results", element("p", "No job has finished."))
    summary = summarise(table, list(result["grid"]))
    shown = counted(summary.n_cells, "line")
    if len(summary.lines) < summary.n_cells:
        shown = f"the first {len(summary.lines)} of {shown}"
    means = (
        f"means over {summary.n_seeds} seeds with 95 % bootstrap intervals"
        if summary.n_seeds > 1
        else "one seed, so no intervals"
    )
    note = element(
        "p",
        f"{shown[0].upper()}{shown[1:]}: {means}. All {counted(len(table), 'row')}: ",
        element("a", "Parquet", href=f"../data/{name}.parquet"),
        ", ",
        element("a", "CSV", href=f"../data/{name}.csv"),
        ".",
        class_="note",
    )
    return _section("Results", note, table_markup(summary))


def _failures(result: Mapping[str, Any]) -> Html | None:
    failed = result["failed"]
    if not failed:
        return None
    lines = [(_cell(one["cell"]), one["seed"], one["error"][:_LONGEST_ERROR]) for one in failed]
    return _section(
        "What went wrong",
        _plain_table(("cell", "seed", "error"), lines),
    )


def _controls(result: Mapping[str, Any]) -> Html | None:
    lines = [(one["name"], one["says"], one["size"]) for one in result["controls"]]
    if not lines and not result["positive"]:
        return None
    parts: list[Html] = []
    if lines:
        words = (
            "Faults planted on purpose. With each of them the verdict must not be “holds”; the "
            "tests of the project check that."
        )
        parts += [
            element("p", words, class_="note"),
            _plain_table(("fault", "what is broken", "size"), lines),
        ]
    if result["positive"]:
        says = result["positive"]["says"]
        parts.append(element("p", element("b", "Must hold: "), says, class_="note"))
    return _section("Controls", *parts)


def _run(result: Mapping[str, Any]) -> Html:
    machine, versions = result["machine"], result["versions"]
    grid = [
        join(element("b", axis), " ", ", ".join(value_text(value) for value in values))
        for axis, values in result["grid"].items()
    ]
    jobs = counted(result["n_jobs"], "job")
    if result["n_reused"]:
        jobs += f", {result['n_reused']} taken from an earlier run"
    clean = {True: "", False: "with uncommitted changes", None: ""}[result["tree_is_clean"]]
    packages = [f"{name} {version}" for name, version in versions.items() if version]
    lines = [
        ("Size", f"{result['size']}, {counted(result['n_seeds'], 'seed')} per cell, {jobs}"),
        ("Grid", join(*(element("span", axis, class_="axis") for axis in grid))),
        ("Time", _time(result)),
        ("Cost stated", result["cost"]),
        ("Commit", join(commit_markup(result["head"]), _aside(clean))),
        ("Run", f"{_when(result['started'])} to {_when(result['finished'])}, {result['engine']}"),
        ("Machine", ", ".join(_machine(machine))),
        ("Versions", ", ".join([f"Python {machine['python']}", *packages])),
    ]
    return _section("How it was run", _command(result["command"]), _definitions(lines))


def _time(result: Mapping[str, Any]) -> str:
    """Of the measuring alone; jobs that run beside others wait for a core at times."""
    return (
        f"{seconds_text(result['seconds'])} by the clock, summed over the jobs; "
        f"{seconds_text(result['core_seconds'])} of them on a core"
    )


def _machine(machine: Mapping[str, Any]) -> list[str]:
    return [
        str(machine["processor"]),
        counted(machine["cores"], "core"),
        f"{machine['memory_gib']:.0f} GiB",
        str(machine["system"]),
    ]


def _command(command: str) -> Html:
    return element("pre", element("code", command), tabindex=0)


def _cell(cell: Mapping[str, Any]) -> str:
    return ", ".join(f"{axis} {value_text(value)}" for axis, value in cell.items())


def _aside(text: str) -> Html:
    return element("span", f" ({text})", class_="label") if text else join()


def _when(date: str) -> str:
    """A day and a minute, of the zone that was written."""
    moment = datetime.fromisoformat(date)
    zone = moment.strftime("%Z") or "local time"
    return f"{moment:%Y-%m-%d %H:%M} {zone}"


def _section(head: str, *parts: object) -> Html:
    return element("section", element("h2", head), *parts)


def _definitions(lines: Sequence[tuple[str, object]]) -> Html:
    """Names and what they are; a line without content is left out."""
    pairs = [
        join(element("dt", name), element("dd", content)) for name, content in lines if content
    ]
    return element("dl", *pairs)


def _plain_table(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> Html:
    head = element("tr", *(element("th", name, scope="col") for name in heads))
    body = [element("tr", *(element("td", cell) for cell in line)) for line in lines]
    table = element("table", element("thead", head), element("tbody", *body), class_="words")
    return scroll_box(table, heads[0])
