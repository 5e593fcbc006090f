"""Finished cells as plain tables for a terminal: titles, headers and rows of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from statformer.benchmarks import cost, given_k, paper_family, unknown_k

Cells = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Sheet:
    """A table of words."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)


def sheets(data: Mapping[str, Any]) -> list[Sheet]:
    """One sheet per measured part, then the targets."""
    cells: Cells = data["cells"]
    makers = {"a": _given_k, "b": _unknown_k, "c": _paper_family, "d": _development, "e": _cost}
    found = []
    for part, make in makers.items():
        mine = {k.partition(": ")[2]: c for k, c in cells.items() if c["part"] == part}
        if mine:
            found += make(mine)
    return [*found, _targets(data.get("targets", []))]


def _given_k(cells: Cells) -> list[Sheet]:
    names = (given_k.OURS, *given_k.RIVAL_NAMES, given_k.BAYES)
    means = Sheet("K given: mean ARI", ("tables", "n", *names))
    gaps = Sheet(
        "K given: ARI of the network minus the rival's [95 % paired bootstrap interval]",
        ("tables", *given_k.RIVAL_NAMES),
    )
    for name, cell in cells.items():
        if "missing" in cell:
            means.rows.append((name, "-", cell["missing"]))
            continue
        row = [f"{cell['ari'][m]['value']:.3f}" if m in cell["ari"] else "" for m in names]
        means.rows.append((name, str(cell["n"]), *row))
        gaps.rows.append((name, *(_signed(cell["ours minus"][m]) for m in given_k.RIVAL_NAMES)))
    return [means, gaps]


def _unknown_k(cells: Cells) -> list[Sheet]:
    sheet = Sheet(
        "K unknown", ("tables", "n", "method", "log score", "exact", "error", "ARI", "K = 1 split")
    )
    for name, cell in cells.items():
        splits = cell.get("false splits where K = 1", {})
        for method in unknown_k.METHODS:
            values = [f"{cell[m][method]['value']:.3f}" for m in unknown_k.MEASURES]
            split = f"{splits[method]['value']:.3f}" if method in splits else ""
            sheet.rows.append((name, str(cell["n"]), method, *values, split))
    return [sheet]


def _paper_family(cells: Cells) -> list[Sheet]:
    rates = Sheet("The paper's family: share misclustered", ("tables", "n", *paper_family.METHODS))
    ratios = Sheet(
        "The paper's family: errors over those of EM from the true centres",
        ("tables", "errors of that EM", *paper_family.METHODS),
    )
    for name, cell in cells.items():
        row = [f"{cell['error rate'][m]['value']:.4f}" for m in paper_family.METHODS]
        rates.rows.append((name, str(cell["n"]), *row))
        found = cell["ratio to EM from the true centres"]
        errors = str(cell["errors"][paper_family.FROM_TRUTH])
        row = [_interval(found[m]) if m in found else "" for m in paper_family.METHODS]
        ratios.rows.append((name, errors, *row))
    return [rates, ratios]


def _development(cells: Cells) -> list[Sheet]:
    names = (given_k.OURS, *given_k.RIVAL_NAMES)
    sheet = Sheet("Development tables: ARI, K given", ("table", "K", "K found", *names))
    for name, cell in cells.items():
        found = ",".join(str(k) for k in cell["K found"])
        row = [f"{cell['ari'][m]:.3f}" for m in names]
        sheet.rows.append((name, str(cell["K"]), found, *row))
    return [sheet]


def _cost(cells: Cells) -> list[Sheet]:
    times = Sheet(
        "Time", ("what", "method", "seconds", "threads", "others' load", "valid", "scaled")
    )
    growth = Sheet(
        "How time grows: log-log slope, K given, one thread", ("with", "slope", "from", "to")
    )
    for name, cell in cells.items():
        if name == cost.GROWTH:
            for axis, series in cell["series"].items():
                ends = (str(series["at"][0]), str(series["at"][-1]))
                growth.rows.append((axis, f"{series['slope']:.2f}", *ends))
            continue
        for method, timings in cell["timings"].items():
            times.rows.extend((name, method, *_timing(timing)) for timing in timings)
        peak = cell.get("peak bytes above data")
        if peak is not None:
            row = (name, "peak memory above the data", f"{peak / 1e6:.0f} MB", "", "", "", "")
            times.rows.append(row)
    return [sheet for sheet in (times, growth) if sheet.rows]


def _timing(timing: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{timing['seconds']:.3g}",
        str(timing["threads"]),
        f"{timing['other_load']:.2f}",
        "yes" if timing["is_valid"] else "NO",
        timing.get("scaled", ""),
    )


def _targets(targets: Sequence[Mapping[str, Any]]) -> Sheet:
    """Every headline; of what it is made of, only that which was not reached."""
    sheet = Sheet("To reach", ("part", "goal", "found", "verdict"))
    for target in targets:
        if not target["is_headline"] and target["status"] == "reached":
            continue
        goal = target["goal"] if target["is_headline"] else f"  {target['goal']}"
        sheet.rows.append((target["part"], goal, target["found"], target["status"]))
    return sheet


def _interval(interval: Mapping[str, Any]) -> str:
    return "{value:.3f} [{low:.3f}, {high:.3f}]".format(**interval)


def _signed(interval: Mapping[str, Any]) -> str:
    return "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**interval)
