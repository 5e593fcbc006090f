"""What was to be reached by the optimizers, and whether it was: read from the cells alone.

A target whose cells are missing is "not measured"; one whose timings were disturbed is "invalid".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from statformer.benchmarks.optim_gpu import NO_DEVICE
from statformer.benchmarks.optim_methods import OURS
from statformer.benchmarks.optim_step_time import FOREACH, MAXIMUM, PRODIGY, STRIDE
from statformer.benchmarks.optim_training import diverged, gap
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT, Cells, Target

MOST_OVER = {FOREACH: 1.25, PRODIGY: 0.5}
MOST_BUFFERS = {OURS: 3.0, MAXIMUM: 4.0, STRIDE: 2.1}
SLACK = 0.01  # buffers: counters and step sizes are not buffers
MOST_GAP = 0.02


def targets(cells: Cells, parts: Iterable[str] = "abd") -> list[Target]:
    """The targets of the parts, headlines before what they are made of."""
    by_part = {"a": _step_time, "b": _training, "d": _gpu}
    return [one for part in parts if part in by_part for one in by_part[part](cells)]


def _step_time(cells: Cells) -> list[Target]:
    mine = {name: cell for name, cell in cells.items() if cell["part"] == "a"}
    return _over(mine, "a") + _buffers(mine)


def _over(cells: Cells, part: str) -> list[Target]:
    """Ratios of step times, cell by cell; the headline has the worst of the undisturbed ones."""
    found = []
    for base, most in MOST_OVER.items():
        goal = f"a step of AdamPP at most {most} of {base}'s"
        each = [_one_over(name, cell, base, most) for name, cell in cells.items()]
        status = _together([target.status for target in each])
        worst = max((c["ratio"][base][OURS]["value"] for c in cells.values()), default=None)
        words = "no cell" if worst is None else f"{worst:.2f} at most; {_count(each)}"
        found += [Target(part, goal, words, status), *each]
    return [_with_part(target, part) for target in found]


def _one_over(name: str, cell: Mapping[str, Any], base: str, most: float) -> Target:
    ratio = cell["ratio"][base][OURS]
    status = REACHED if ratio["value"] <= most else SHORT
    goal = f"{name.partition(': ')[2]}: at most {most} of {base}'s"
    words = "{value:.2f} [{low:.2f}, {high:.2f}]".format(**ratio)
    return Target("a", goal, words, status if cell["is_valid"] else INVALID, is_headline=False)


def _buffers(cells: Cells) -> list[Target]:
    """The most buffers over the cells of enough parameters that counters do not count."""
    found = []
    for name, most in MOST_BUFFERS.items():
        goal = f"{name}: at most {most:g} buffers of the parameters' size"
        counts = [
            cell["memory"][name]["buffers"]
            for cell in cells.values()
            if cell["parameters"] >= 1000 * cell["tensors"]
        ]
        if not counts:
            found.append(Target("a", goal, "no cell", MISSING))
            continue
        status = REACHED if max(counts) <= most + SLACK else SHORT
        found.append(Target("a", goal, f"{max(counts):.3f}", status))
    return found


def _training(cells: Cells) -> list[Target]:
    """The gap of AdamPP at its defaults on every task and schedule, and that nothing diverged."""
    mine = [c for c in cells.values() if c["part"] == "b" and c.get("method") == OURS]
    goal = f"AdamPP at its defaults: gap to tuned AdamW at most {MOST_GAP:.0%}"
    if not mine:
        return [Target("b", goal, "no cell", MISSING), _divergences(mine)]
    each, worst = [], -float("inf")
    for cell in mine:
        interval = gap(cells, cell["task"], cell["schedule"], OURS)
        where = f"{cell['task']}, {cell['schedule']}: gap at most {MOST_GAP:.0%}"
        if interval is None:
            each.append(Target("b", where, "no tuned AdamW", MISSING, is_headline=False))
            continue
        worst = max(worst, interval.value)
        value, low, high = (100 * x for x in (interval.value, interval.low, interval.high))
        words = f"{value:+.1f} % [{low:+.1f}, {high:+.1f}], {interval.n} seeds"
        status = REACHED if interval.value <= MOST_GAP else SHORT
        each.append(Target("b", where, words, status, is_headline=False))
    status = _together([target.status for target in each])
    head = Target("b", goal, f"{100 * worst:+.1f} % at most; {_count(each)}", status)
    return [head, *each, _divergences(mine)]


def _divergences(cells: list[Mapping[str, Any]]) -> Target:
    goal = "AdamPP at its defaults: no run diverges"
    if not cells:
        return Target("b", goal, "no cell", MISSING)
    count, runs = sum(diverged(cell) for cell in cells), sum(len(cell["train"]) for cell in cells)
    return Target("b", goal, f"{count} of {runs} runs", REACHED if count == 0 else SHORT)


def _gpu(cells: Cells) -> list[Target]:
    mine = {name: c for name, c in cells.items() if c["part"] == "d" and "ratio" in c}
    if not mine:
        return [Target("d", "step time on a GPU", NO_DEVICE, MISSING)]
    return _over(mine, "d")


def _with_part(target: Target, part: str) -> Target:
    return Target(part, target.goal, target.found, target.status, target.is_headline)


def _together(statuses: list[str]) -> str:
    """Reached where all are; else the first of short, invalid, not measured that occurs."""
    for status in (SHORT, INVALID, MISSING):
        if status in statuses:
            return status
    return REACHED if statuses else MISSING


def _count(each: list[Target]) -> str:
    return f"{sum(t.status == REACHED for t in each)} of {len(each)} reached"
