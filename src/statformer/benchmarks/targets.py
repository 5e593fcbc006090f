"""What was to be reached, and whether it was: read from the finished cells, nothing else.

"short" is said as plainly as "reached". A target whose cells are missing is "not measured", one
whose timings were disturbed is "invalid".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from statformer.benchmarks import battery_targets, cost, paper_family
from statformer.benchmarks.cost import CONSTRUCTED, EM_TEN, FAST, MINI_BATCH, OURS, SWEEP
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT, Cells, Target, signed

MOST_RATIO, LEAST_ERRORS, MOST_BYTES = 1.05, 1000, 10**9
OVER_SWEEP, OVER_BATCHED, MOST_OVER_MINI, MOST_MS = 50.0, 5.0, 2.0, 150.0


def targets(cells: Cells, parts: Iterable[str] = "cefghi") -> list[Target]:
    """All targets of the parts, in the order of the parts, and that nothing crashed."""
    by_part = {"c": _paper_family, "e": _cost, **battery_targets.BY_PART}
    found = [one for part in parts if part in by_part for one in by_part[part](cells)]
    return [*found, *battery_targets.crashes(cells)]


def _paper_family(cells: Cells) -> list[Target]:
    """At most 5 % more errors than EM from the true centres, with at least 1,000 of those."""
    found = []
    for separation in paper_family.WITH_TARGET:
        goal = f"separation {separation:g}: errors at most {MOST_RATIO} of EM's from the truth"
        cell = cells.get(f"c: separation {separation:g}")
        if cell is None:
            found.append(Target("c", goal, "no cell", MISSING))
            continue
        ratio = cell["ratio to EM from the true centres"].get(paper_family.OURS)
        errors = cell["errors"][paper_family.FROM_TRUTH]
        if ratio is None or errors < LEAST_ERRORS:
            text = f"{errors} errors, {LEAST_ERRORS} needed"
            text += "" if ratio is None else f"; ratio {ratio['value']:.3f}"
            found.append(Target("c", goal, text, MISSING))
            continue
        text = f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}], {errors} errors"
        found.append(Target("c", goal, text, REACHED if ratio["value"] <= MOST_RATIO else SHORT))
    return found


def _cost(cells: Cells) -> list[Target]:
    """Many tables, one table, long tables: time beside the rivals', and memory."""
    found = [
        _speed_up(cells, SWEEP, OVER_SWEEP),
        _speed_up(cells, CONSTRUCTED, OVER_BATCHED),
        _one_table(cells),
        _quick_answer(cells),
        _long_table(cells),
    ]
    long = cells.get("e: 1000000 rows")
    goal = "1,000,000 rows x 10: below 1 GB above the data"
    peak = None if long is None else long["peak bytes above data"]
    if peak is None:
        found.append(Target("e", goal, "no number", MISSING))
    else:
        status = REACHED if peak < MOST_BYTES else SHORT
        found.append(Target("e", goal, f"{peak / 1e6:.0f} MB", status))
    return found


def _speed_up(cells: Cells, rival: str, times: float) -> Target:
    """`times` faster than the rival at one thread, at an ARI that is not below the rival's."""
    many = cells.get(f"e: {cost.MANY}")
    goal = f"many tables, K unknown, fast: {times:g} times faster than {rival} at no lower ARI"
    if many is None:
        return Target("e", goal, "no cell", MISSING)
    ours, theirs = (_at_one_thread(many["timings"][name]) for name in (FAST, rival))
    ratio = theirs["seconds"] / ours["seconds"]
    text = f"{ratio:.1f} times: {ours['seconds']:.1f} s beside {theirs['seconds']:.0f} s"
    text += f" for {many['n tables']} tables ({theirs.get('scaled', 'all timed')})"
    gap = many["ari, ours minus"][rival]
    text += f"; ARI {signed(gap)}"
    return Target("e", goal, text, _timed_status(ratio >= times and gap["high"] >= 0, ours, theirs))


def _quick_answer(cells: Cells) -> Target:
    """A 500 x 8 table with K unknown within 150 ms at effort "fast"."""
    one = cells.get(f"e: {cost.ONE_UNKNOWN}")
    goal = f"one {cost.ROWS} x {cost.COLUMNS} table, K unknown, fast: at most {MOST_MS:g} ms"
    if one is None:
        return Target("e", goal, "no cell", MISSING)
    ours = min(one["timings"][FAST], key=_seconds)
    text = f"{1e3 * ours['seconds']:.0f} ms at {ours['threads']} threads"
    return Target("e", goal, text, _timed_status(1e3 * ours["seconds"] <= MOST_MS, ours))


def _long_table(cells: Cells) -> Target:
    """A million rows within twice the time of MiniBatchKMeans."""
    long = cells.get("e: 1000000 rows")
    goal = f"1,000,000 rows x 10, fast: at most {MOST_OVER_MINI:g} times {MINI_BATCH}"
    if long is None:
        return Target("e", goal, "no cell", MISSING)
    ours, mini = (min(long["timings"][name], key=_seconds) for name in (FAST, MINI_BATCH))
    ratio = ours["seconds"] / mini["seconds"]
    text = f"{ratio:.2f} times: {ours['seconds']:.2f} s beside {mini['seconds']:.2f} s"
    return Target("e", goal, text, _timed_status(ratio <= MOST_OVER_MINI, ours, mini))


def _one_table(cells: Cells) -> Target:
    one = cells.get(f"e: {cost.ONE_GIVEN}")
    goal = f"one {cost.ROWS} x {cost.COLUMNS} table, K given: no slower than {EM_TEN}"
    if one is None:
        return Target("e", goal, "no cell", MISSING)
    ours, em = (min(one["timings"][name], key=_seconds) for name in (OURS, EM_TEN))
    text = f"{1e3 * ours['seconds']:.0f} ms at {ours['threads']} threads beside "
    text += f"{1e3 * em['seconds']:.0f} ms at {em['threads']}"
    return Target("e", goal, text, _timed_status(ours["seconds"] <= em["seconds"], ours, em))


def _timed_status(reached: bool, *timings: Mapping[str, Any]) -> str:
    if not all(timing["is_valid"] for timing in timings):
        return INVALID
    return REACHED if reached else SHORT


def _at_one_thread(timings: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next(timing for timing in timings if timing["threads"] == 1)


def _seconds(timing: Mapping[str, Any]) -> float:
    return float(timing["seconds"])
