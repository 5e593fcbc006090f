"""What was to be reached on the batteries, and whether it was: parts (f) to (i), and no crash.

Axes: none; everything here reads finished cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from statformer.benchmarks import calibration, given_k, incomplete, indices, judging, unknown_k
from statformer.benchmarks.batteries import IN_PRIOR, LEFT, SHAPED, SINGLE
from statformer.benchmarks.verdicts import MISSING, REACHED, SHORT, Cells, Target, signed
from statformer.runs.intervals import difference_interval, mean_interval

BEHIND_GENIE, MOST_SPLITS, MOST_ECE = 0.05, 0.05, 0.05
MARGINALISED = ("missing: MCAR 40%", "missing: MAR 40%")

Cell = Mapping[str, Any]


def measured(cells: Cells, part: str, *groups: str) -> dict[str, Cell]:
    """Finished cells of a part (and of some groups) by the names of their batteries."""
    return {
        key.partition(": ")[2]: cell
        for key, cell in cells.items()
        if cell["part"] == part
        and "missing" not in cell
        and (not groups or cell.get("group") in groups)
    }


def n_missing(cells: Cells, part: str, group: str) -> int:
    """Batteries of a group whose weights are not there."""
    return sum(
        c["part"] == part and c.get("group") == group and "missing" in c for c in cells.values()
    )


def _given_k(cells: Cells) -> list[Target]:
    found = _over_left_out(cells)
    batteries = measured(cells, "f")
    for name, cell in batteries.items():
        gap = cell["ours minus the best rival"]
        goal = f"{name}: not behind its best rival"
        if not gap:
            found.append(Target("f", goal, "too few tables", MISSING, is_headline=False))
            continue
        text = f"{signed(gap)} to {' / '.join(dict.fromkeys(gap['named']))}"
        status = REACHED if gap["high"] >= 0 else SHORT
        found.append(Target("f", goal, text, status, is_headline=False))
    behind = [name for name, cell in batteries.items() if _is_behind(cell)]
    text = f"{len(behind)} of {len(batteries)} batteries behind"
    text += f": {', '.join(behind)}" if behind else ""
    status = MISSING if not batteries else SHORT if behind else REACHED
    found.append(Target("f", "no battery significantly behind its best rival", text, status))
    found += _shapes(cells)
    found += _marginalised(batteries)
    return found


def _is_behind(cell: Cell) -> bool:
    gap = cell["ours minus the best rival"]
    return bool(gap) and gap["high"] < 0


def _over_left_out(cells: Cells) -> list[Target]:
    """Pooled over the left-out batteries: above every single rival and above the trees."""
    left = list(measured(cells, "f", LEFT).values())
    lacking = n_missing(cells, "f", LEFT)
    note = f"; {lacking} batteries lack weights" if lacking else ""
    found = []
    for rival in (*given_k.SINGLE_RIVALS, given_k.SELECTOR):
        goal = f"left out, pooled: ARI minus {rival} above 0"
        cells_of = [cell for cell in left if rival in cell["ours minus"]]
        if not cells_of:
            found.append(Target("f", goal, "no cell" + note, MISSING))
            continue
        gap = given_k.pooled(cells_of, rival)
        status = SHORT if gap["low"] <= 0 else MISSING if lacking else REACHED
        found.append(Target("f", goal, signed(gap) + note, status))
    return found


def _shapes(cells: Cells) -> list[Target]:
    found = measured(cells, "f", SHAPED)
    goal = f"shapes: within {BEHIND_GENIE:g} of {given_k.GENIE}"
    if not found:
        return [Target("f", goal, "no cell", MISSING)]
    gap = given_k.pooled(list(found.values()), given_k.GENIE)
    status = REACHED if gap["value"] >= -BEHIND_GENIE else SHORT
    return [Target("f", goal, signed(gap), status)]


def _marginalised(batteries: Mapping[str, Cell]) -> list[Target]:
    """Missing 40 %, MCAR and MAR: above EM that marginalises."""
    found = []
    for name in MARGINALISED:
        for rival in incomplete.MARGINALISING:
            goal = f"{name}: ARI minus {rival} above 0"
            gap = batteries.get(name, {}).get("ours minus", {}).get(rival)
            if gap is None:
                found.append(Target("f", goal, "no cell", MISSING))
            else:
                found.append(Target("f", goal, signed(gap), REACHED if gap["low"] > 0 else SHORT))
    return found


def _unknown_k(cells: Cells) -> list[Target]:
    """Log score above BIC weights in every battery; false splits of single clusters <= 5 %."""
    batteries = measured(cells, "g")
    found = []
    for rival in unknown_k.RIVAL_NAMES:
        goal = f"log score above {rival} in every battery"
        gaps = {name: cell["log score, ours minus"][rival] for name, cell in batteries.items()}
        short = {name: gap for name, gap in gaps.items() if gap["low"] <= 0}
        text = f"{len(gaps) - len(short)} of {len(gaps)} batteries"
        status = MISSING if not gaps else SHORT if short else REACHED
        found.append(Target("g", goal, text, status))
        found += [
            Target("g", f"{name}: log score minus {rival} above 0", signed(gap), SHORT, False)
            for name, gap in short.items()
        ]
    split = list(measured(cells, "g", SINGLE).values())
    goal = f"false splits of one-cluster tables at most {MOST_SPLITS:.0%}"
    if not split:
        return [*found, Target("g", goal, "no cell", MISSING)]
    values = [1.0 - np.array(c["scores"][f"{unknown_k.OURS}: exact"]) for c in split]
    rate = mean_interval(values)
    status = REACHED if rate.value <= MOST_SPLITS else SHORT
    return [*found, Target("g", goal, f"{rate}, {rate.n} tables", status)]


def _judged(cells: Cells) -> list[Target]:
    """The judge picks better than every classical index, over all batteries."""
    batteries = list(measured(cells, "h").values())
    found = []
    for task in (judging.GIVEN, judging.UNKNOWN):
        for name in (*indices.NAMES, given_k.SELECTOR):
            having = [c for c in batteries if f"{task}: {name}" in c["scores"]]
            if name == given_k.SELECTOR and not having:
                continue
            goal = f"{task}: the judge's pick minus that of {name} above 0"
            if not having:
                found.append(Target("h", goal, "no cell", MISSING))
                continue
            gap = difference_interval(
                [np.array(c["scores"][f"{task}: {judging.JUDGE}"]) for c in having],
                [np.array(c["scores"][f"{task}: {name}"]) for c in having],
            ).as_dict()
            status = REACHED if gap["low"] > 0 else SHORT
            is_index = name != given_k.SELECTOR  # the trees are judged in (f)
            found.append(Target("h", goal, signed(gap), status, is_index))
    return found


def _calibrated(cells: Cells) -> list[Target]:
    """Left-out ECE at most .05 and not above EM's."""
    left = list(measured(cells, "i", LEFT).values())
    lacking = n_missing(cells, "i", LEFT)
    note = f"; {lacking} batteries lack weights" if lacking else ""
    goal = f"left out, pooled: ECE of responsibilities at most {MOST_ECE:g}"
    if not left:
        return [Target("i", goal, "no cell" + note, MISSING)]
    bins = {
        name: [calibration.stored_bins(cell, name) for cell in left] for name in calibration.METHODS
    }
    own = calibration.ece_interval(bins[calibration.OURS])
    reached = MISSING if lacking else REACHED
    found = [Target("i", goal, f"{own}{note}", reached if own.value <= MOST_ECE else SHORT)]
    for name in calibration.METHODS[1:]:
        gap = calibration.ece_difference(bins[calibration.OURS], bins[name]).as_dict()
        goal = f"left out, pooled: ECE minus that of {name} not above 0"
        status = reached if gap["low"] <= 0 else SHORT
        found.append(Target("i", goal, signed(gap) + note, status))
    return found


def crashes(cells: Cells) -> list[Target]:
    """Not one table of any part on which the network raised."""
    rates = {
        key: max((rate for name, rate in cell["crash rate"].items() if _is_ours(name)), default=0.0)
        for key, cell in cells.items()
        if "crash rate" in cell
    }
    if not rates:
        return []
    crashed = [key for key, rate in rates.items() if rate > 0]
    text = f"{len(crashed)} of {len(rates)} cells with a crash"
    text += f": {', '.join(crashed)}" if crashed else ""
    return [Target("all", "crash rate 0", text, SHORT if crashed else REACHED)]


def _is_ours(name: str) -> bool:
    return name == given_k.OURS or name.startswith(("K given, ", "K unknown, "))


def in_prior_and_left_out(cells: Cells, part: str) -> dict[str, list[Cell]]:
    """Finished cells of a part in two groups, for pooled tables and plots."""
    return {
        name: list(measured(cells, part, group).values())
        for name, group in (("in-prior", IN_PRIOR), ("left out", LEFT))
    }


BY_PART: dict[str, Callable[[Cells], Sequence[Target]]] = {
    "f": _given_k,
    "g": _unknown_k,
    "h": _judged,
    "i": _calibrated,
}
