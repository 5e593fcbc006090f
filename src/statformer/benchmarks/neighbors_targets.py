"""What was to be reached with attention neighbours, and whether it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from statformer.benchmarks import neighbors_cost as cost
from statformer.benchmarks import neighbors_predictions as predictions
from statformer.benchmarks.neighbors_shifted import SHIFTED
from statformer.benchmarks.parts import cells_of
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT, Cells, Target

MOST_OVER = {cost.BRUTE: 1.0, cost.FAISS: 2.0}  # ours in times of theirs
MOST_MEMORY = 1e9  # bytes above the data


def targets(cells: Cells, parts: Sequence[str]) -> list[Target]:
    """All targets of the parts, in the order of the parts."""
    by_part: dict[str, Callable[[Cells], list[Target]]] = {
        "a": _cost,
        "b": _predictions,
        "c": _shifted,
    }
    return [target for part in parts for target in by_part[part](cells_of(cells, part))]


def _cost(cells: Cells) -> list[Target]:
    found = [_speed(cells, rival, most) for rival, most in MOST_OVER.items()]
    apart = {name: 1.0 - cell["labels as brute force"][cost.OURS] for name, cell in cells.items()}
    name = max(apart, key=lambda name: apart[name])
    goal = "the labels of scikit-learn's brute force, every one"
    text = f"{apart[name]:.2%} differ at most: {name}" if apart[name] else f"{len(cells)} cells"
    found.append(Target("a", goal, text, SHORT if apart[name] else REACHED))
    return [*found, _memory(cells)]


def _speed(cells: Cells, rival: str, most: float) -> Target:
    """Ours in times of a rival's seconds per query, at every shape and number of threads."""
    goal = f"at most {most:g} times the seconds of {rival}, in every cell"
    ratios, n_invalid = {}, 0
    for name, cell in cells.items():
        for threads, timing in cell["timings"].items():
            seconds = timing["seconds per query"]
            if timing["is_valid"]:
                ratios[f"{name}, threads {threads}"] = seconds[cost.OURS] / seconds[rival]
            else:
                n_invalid += 1
    if not ratios:
        return Target("a", goal, f"others kept the machine busy in all {n_invalid}", INVALID)
    over = [name for name, ratio in ratios.items() if ratio > most]
    worst = max(ratios, key=lambda name: ratios[name])
    text = f"largest {ratios[worst]:.2f}: {worst}; {len(over)} of {len(ratios)} over it"
    text += f"; {n_invalid} more are invalid" if n_invalid else ""
    return Target("a", goal, text, SHORT if over else REACHED)


def _memory(cells: Cells) -> Target:
    goal = "10^6 rows and 10^4 queries in 1 GB above the data, hard and soft"
    peaks = {
        f"{name}, {form}": cell["peak bytes above data"][form]
        for name, cell in cells.items()
        for form in (cost.OURS, cost.SOFT)
        if cost.SOFT in cell["peak bytes above data"]
    }
    known = {name: peak for name, peak in peaks.items() if peak is not None}
    if not known:
        return Target("a", goal, "no cell of that size", MISSING)
    worst = max(known, key=lambda name: known[name])
    status = REACHED if known[worst] <= MOST_MEMORY else SHORT
    return Target("a", goal, f"{known[worst] / 1e6:.0f} MB: {worst}", status)


def _predictions(cells: Cells) -> list[Target]:
    """Lower log loss than k-NN on more than half of the tables; the same by ECE is no headline."""
    found = []
    for measure in ("log loss", "ECE"):
        for rival in predictions.RIVALS:
            gaps = {name: cell["ours minus"][rival][measure] for name, cell in cells.items()}
            found.append(_most(gaps, measure, rival))
    return found


def _most(gaps: Mapping[str, Mapping[str, Any]], measure: str, rival: str) -> Target:
    lower = [name for name, gap in gaps.items() if gap["value"] < 0]
    clear = [name for name, gap in gaps.items() if gap["high"] < 0]
    behind = [name for name, gap in gaps.items() if gap["low"] > 0]
    text = f"{len(lower)} of {len(gaps)} tables, {len(clear)} of them beyond chance"
    text += f"; clearly higher on {', '.join(behind)}" if behind else ""
    status = REACHED if 2 * len(lower) > len(gaps) else SHORT
    goal = f"lower {measure} than {rival} on most tables"
    return Target("b", goal, text, status, is_headline=measure == "log loss")


def _shifted(cells: Cells) -> list[Target]:
    """The theorem's share of the attention, and with it the answer of one nearest neighbour."""
    ratios = {
        name: cell[SHIFTED]["largest attention that misses"] / cell["error"]
        for name, cell in cells.items()
    }
    name = max(ratios, key=lambda name: ratios[name])
    goal = "shifted prompts: attention misses the nearest point by the stated error at most"
    text = f"at most {ratios[name]:.2f} of it: {name}"
    return [Target("c", goal, text, REACHED if ratios[name] <= 1.0 else SHORT)]
