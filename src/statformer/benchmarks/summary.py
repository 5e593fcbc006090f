"""Finished cells as plain tables for a terminal: titles, headers and rows of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from statformer.benchmarks import battery_sheets, cost, given_k, paper_family
from statformer.benchmarks.sheet import Cells, Sheet, interval

__all__ = ["Sheet", "sheets"]


def sheets(data: Mapping[str, Any]) -> list[Sheet]:
    """One sheet per measured part, then the targets."""
    cells: Cells = data["cells"]
    makers = {"c": _paper_family, "d": _development, "e": _cost, **battery_sheets.MAKERS}
    found = []
    for part, make in makers.items():
        mine = {k.partition(": ")[2]: c for k, c in cells.items() if c["part"] == part}
        if mine:
            found += make(mine)
    return [*found, _targets(data.get("targets", []))]


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
        row = [interval(found[m]) if m in found else "" for m in paper_family.METHODS]
        ratios.rows.append((name, errors, *row))
    return [rates, ratios]


def _development(cells: Cells) -> list[Sheet]:
    names = (given_k.OURS, *given_k.SINGLE_RIVALS)
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
