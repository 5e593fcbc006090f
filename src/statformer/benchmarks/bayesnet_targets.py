"""What was to be reached with Bayesian networks, and whether it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from statformer.benchmarks import bayesnet_cost as cost
from statformer.benchmarks import bayesnet_truth as truth
from statformer.benchmarks.parts import cells_of
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT, Cells, Target

MOST_APART = 1e-6
RIVALS = {cost.PGMPY: 5.0, cost.AGRUM: 1.0, cost.DATABASE: 1.0}  # least times their rows per second
NO_NETWORK = "no network ships"


def targets(cells: Cells, parts: Sequence[str]) -> list[Target]:
    """All targets of the parts, in the order of the parts."""
    by_part: dict[str, Callable[[Cells], list[Target]]] = {"a": _truth, "b": _equality, "c": _cost}
    return [target for part in parts for target in by_part[part](cells_of(cells, part))]


def _truth(cells: Cells) -> list[Target]:
    """Below the naive count wherever two predecessors are no parents; the rest is not measured."""
    gaps = {
        f"{name}, N {n}, node {t}": gap
        for name, cell in cells.items()
        for n, of_nodes in cell["minus naive"].items()
        for t, gap in enumerate(of_nodes)
        if gap is not None
    }
    goal = f"{truth.COLLAPSED}: lower TV than all predecessors where two of them are no parents"
    if gaps:
        over = [name for name, gap in gaps.items() if gap["value"] >= 0]
        clear = [name for name, gap in gaps.items() if gap["high"] < 0]
        worst = max(gaps, key=lambda name: float(gaps[name]["value"]))
        higher = [name for name, gap in gaps.items() if gap["low"] > 0]
        text = f"{len(gaps) - len(over)} of {len(gaps)}, {len(clear)} of them beyond chance"
        text += f"; higher beyond chance in {len(higher)}"
        text += f"; largest {gaps[worst]['value']:+.4f}: {worst}"
        below = Target("a", goal, text, SHORT if over else REACHED)
    else:
        below = Target("a", goal, "no such node", MISSING)
    goal = "pretrained: within 0.02 TV of the known-structure MLE, N >= 100, unseen DAGs of 5 and 7"
    shd = "structures from rows: Hamming distance up to equivalence beside hill-climbing with BIC"
    return [
        below,
        Target("a", goal, NO_NETWORK, MISSING),
        Target("a", shd, NO_NETWORK, MISSING),
    ]


def _equality(cells: Cells) -> list[Target]:
    found = []
    for way in next(iter(cells.values()))["largest gap"]:
        largest = max(cell["largest gap"][way] for cell in cells.values())
        goal = f"{way}: at most {MOST_APART:g} from pgmpy's maximum likelihood"
        status = REACHED if largest <= MOST_APART else SHORT
        found.append(Target("b", goal, f"{largest:.1e} in {len(cells)} cells", status))
    return found


def _cost(cells: Cells) -> list[Target]:
    """The collapsed form against each library, fitting and drawing; the database is no headline."""
    found = []
    for work, methods in (("fit", cost.FITTED), ("sample", cost.DRAWN)):
        for rival, least in RIVALS.items():
            if rival in methods:
                found.append(_speed(cells, work, rival, least))
    return found


def _speed(cells: Cells, work: str, rival: str, least: float) -> Target:
    goal = f"{cost.OURS}: {work} at least {least:g} times the rows/s of {rival}, in every cell"
    ratios, n_invalid = {}, 0
    for name, cell in cells.items():
        for threads, timing in cell["timings"].items():
            rates = timing[work]["rows per second"]
            if timing[work]["is_valid"]:
                ratios[f"{name}, threads {threads}"] = rates[cost.OURS] / rates[rival]
            else:
                n_invalid += 1
    is_headline = rival != cost.DATABASE
    if not ratios:
        text = f"others kept the machine busy in all {n_invalid}"
        return Target("c", goal, text, INVALID, is_headline)
    under = [name for name, ratio in ratios.items() if ratio < least]
    worst = min(ratios, key=lambda name: ratios[name])
    text = f"least {ratios[worst]:.2f}: {worst}; {len(under)} of {len(ratios)} under it"
    text += f"; {n_invalid} more are invalid" if n_invalid else ""
    return Target("c", goal, text, SHORT if under else REACHED, is_headline)
