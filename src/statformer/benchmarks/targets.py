"""What was to be reached, and whether it was: read from the finished cells, nothing else.

"short" is said as plainly as "reached". A target whose cells are missing is "not measured", one
whose timings were disturbed is "invalid".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from statformer.benchmarks import cost, given_k, paper_family
from statformer.benchmarks.batched_em import NAMES as BATCHED_NAMES
from statformer.benchmarks.cost import EM_TEN, OURS, SWEEP

REACHED, SHORT, MISSING, INVALID = "reached", "short", "not measured", "invalid"
SPEED_UP, MOST_RATIO, LEAST_ERRORS, MOST_BYTES = 30.0, 1.05, 1000, 10**9

Cells = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """One goal: its part, what was wanted, what was found, and the verdict.

    is_headline is False for the families and cells that a headline is made of.
    """

    part: str
    goal: str
    found: str
    status: str
    is_headline: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def targets(cells: Cells, parts: Iterable[str] = "abce") -> list[Target]:
    """All targets of the parts, in the order of the parts."""
    by_part = {"a": _given_k, "b": _unknown_k, "c": _paper_family, "e": _cost}
    return [one for part in parts if part in by_part for one in by_part[part](cells)]


def _given_k(cells: Cells) -> list[Target]:
    """Above 0 against scikit-learn's BIC-EM; not below 0 against each B'."""
    measured = {k: c for k, c in cells.items() if c["part"] == "a" and "scores" in c}
    missing = [k for k, c in cells.items() if c["part"] == "a" and "scores" not in c]
    found = []
    for group in ("in-prior", "left-out"):
        mine = {k: c for k, c in measured.items() if c["group"] == group}
        lacks = [k for k in missing if cells[k]["group"] == group]
        for rival in (given_k.BIC_EM, *BATCHED_NAMES):
            found.append(_difference(group, list(mine.values()), rival, lacking=len(lacks)))
            for key, cell in mine.items():
                name = key.removeprefix("a: ")
                found.append(_difference(name, [cell], rival, is_headline=False))
    return found


def _difference(
    name: str,
    found: Sequence[Mapping[str, Any]],
    rival: str,
    lacking: int = 0,
    is_headline: bool = True,
) -> Target:
    """The goal of one or several cells; what lacks cells cannot be reached yet."""
    note = f"; {lacking} cells lack weights" if lacking else ""
    above = rival == given_k.BIC_EM
    goal = f"{name}: ARI minus {rival} " + ("above 0" if above else "not below 0")
    if not found:
        return Target("a", goal, "no cell" + note, MISSING, is_headline)
    interval = given_k.pooled(found, rival)
    reached = interval["low"] > 0 if above else interval["high"] >= 0
    status = (MISSING if lacking else REACHED) if reached else SHORT
    return Target("a", goal, _signed(interval) + note, status, is_headline)


def _unknown_k(cells: Cells) -> list[Target]:
    """Better log score and more often exact than BIC weights, the interval above 0."""
    found = []
    measured = {k: c for k, c in cells.items() if c["part"] == "b"}
    if not measured:
        return [Target("b", "better P(K) than BIC weights", "no cell", MISSING)]
    for key, cell in measured.items():
        for measure in ("log score", "exact"):
            for rival, interval in cell[f"{measure}, ours minus"].items():
                goal = f"{key.removeprefix('b: ')}: {measure} minus {rival} above 0"
                status = REACHED if interval["low"] > 0 else SHORT
                headline = key == "b: K unknown, in-prior"
                found.append(Target("b", goal, _signed(interval), status, headline))
    return found


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
    """Thirty times faster on many tables, no slower on one, below 1 GB above the data."""
    found = [_speed_up(cells), _one_table(cells)]
    long = cells.get("e: 1000000 rows")
    goal = "1,000,000 rows x 10: below 1 GB above the data"
    peak = None if long is None else long["peak bytes above data"]
    if peak is None:
        found.append(Target("e", goal, "no number", MISSING))
    else:
        status = REACHED if peak < MOST_BYTES else SHORT
        found.append(Target("e", goal, f"{peak / 1e6:.0f} MB", status))
    return found


def _speed_up(cells: Cells) -> Target:
    many = cells.get(f"e: {cost.MANY}")
    goal = f"many tables, K unknown: {SPEED_UP:g} times faster than {SWEEP}, one thread each"
    if many is None:
        return Target("e", goal, "no cell", MISSING)
    ours, sweep = (_at_one_thread(many["timings"][name]) for name in (OURS, SWEEP))
    ratio = sweep["seconds"] / ours["seconds"]
    text = f"{ratio:.1f} times: {ours['seconds']:.1f} s beside {sweep['seconds']:.0f} s"
    text += f" for {many['n tables']} tables ({sweep.get('scaled', 'all timed')})"
    return Target("e", goal, text, _timed_status(ratio >= SPEED_UP, ours, sweep))


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


def _signed(interval: Mapping[str, Any]) -> str:
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}], {interval['n']} tables"
