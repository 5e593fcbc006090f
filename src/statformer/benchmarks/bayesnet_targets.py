"""What was to be reached with Bayesian networks, and whether it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from statformer.benchmarks import bayesnet_cost as cost
from statformer.benchmarks import bayesnet_learners as learners
from statformer.benchmarks import bayesnet_structures as structures
from statformer.benchmarks import bayesnet_truth as truth
from statformer.benchmarks import bayesnet_unknown as unknown
from statformer.benchmarks.parts import cells_of
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT, Cells, Target
from statformer.runs.intervals import Interval, difference_interval

MOST_APART = 1e-6
RIVALS = {cost.PGMPY: 5.0, cost.AGRUM: 1.0, cost.DATABASE: 1.0}  # least times their rows per second
MOST_BEHIND = 0.02  # total variation behind the count of the true DAG
LEAST_NETWORKS = 20  # with two such predecessors at a node, for it to be judged
FEW_ROWS = 100  # from so many context rows on it is judged


def targets(cells: Cells, parts: Sequence[str]) -> list[Target]:
    """All targets of the parts, in the order of the parts."""
    by_part: dict[str, Callable[[Cells], list[Target]]] = {
        "a": _truth,
        "b": _equality,
        "c": _cost,
        "d": _structures,
    }
    return [target for part in parts for target in by_part[part](cells_of(cells, part))]


def _truth(cells: Cells) -> list[Target]:
    """Networks that read the parents near the count that knows them, and all below the naive one.

    The headlines are those of the pretrained network; the theorem's stand beside them.
    """
    return [
        _near(cells, unknown.PRETRAINED),
        _near(cells, unknown.START, is_headline=False),
        _below(cells, unknown.PRETRAINED),
        _below(cells, unknown.START, is_headline=False),
        _below(cells, truth.COLLAPSED),
    ]


def _near(cells: Cells, method: str, *, is_headline: bool = True) -> Target:
    """At most 0.02 TV behind the count of the true DAG, with the whole interval."""
    goal = f"{method}: within {MOST_BEHIND} TV of the known-structure MLE, N >= {FEW_ROWS}, "
    goal += "unseen DAGs of 5 and 7"
    gaps = {
        f"{name}, N {n}": gap
        for name, cell in cells.items()
        if name in truth.UNSEEN
        for n, gap in cell["minus known"][method].items()
        if int(n) >= FEW_ROWS
    }
    if not gaps:
        return Target("a", goal, "no such cell", MISSING, is_headline)
    worst = max(gaps, key=lambda name: float(gaps[name]["high"]))
    text = f"largest {_signed(gaps[worst])}: {worst}, {gaps[worst]['n']} DAGs"
    status = REACHED if gaps[worst]["high"] <= MOST_BEHIND else SHORT
    return Target("a", goal, text, status, is_headline)


def _below(cells: Cells, method: str, *, is_headline: bool = True) -> Target:
    """Below the naive count wherever two predecessors are no parents, in networks enough."""
    gaps = {
        f"{name}, N {n}, node {t}": gap
        for name, cell in cells.items()
        for n, of_nodes in cell["minus naive"][method].items()
        for t, gap in enumerate(of_nodes)
        if gap is not None and gap["n"] >= LEAST_NETWORKS
    }
    goal = f"{method}: lower TV than all predecessors where two of them are no parents"
    if not gaps:
        return Target("a", goal, "no such node", MISSING, is_headline)
    over = [name for name, gap in gaps.items() if gap["value"] >= 0]
    clear = [name for name, gap in gaps.items() if gap["high"] < 0]
    worst = max(gaps, key=lambda name: float(gaps[name]["value"]))
    higher = [name for name, gap in gaps.items() if gap["low"] > 0]
    text = f"{len(gaps) - len(over)} of {len(gaps)}, {len(clear)} of them beyond chance"
    text += f"; higher beyond chance in {len(higher)}"
    text += f"; largest {gaps[worst]['value']:+.4f}: {worst}"
    return Target("a", goal, text, SHORT if over else REACHED, is_headline)


def _structures(cells: Cells) -> list[Target]:
    """Nearer to the true structure than each rival, over all cells; the theorem's beside it."""
    return [
        _nearer(cells, method, rival, knowledge)
        for method in (learners.PRETRAINED, learners.CONSTRUCTED)
        for knowledge in structures.KNOWLEDGE
        for rival in learners.RIVALS
    ]


def _nearer(cells: Cells, method: str, rival: str, knowledge: str) -> Target:
    goal = f"{method}, {knowledge}: Hamming distance below {rival}"
    found = difference(cells.values(), method, rival, knowledge, "distance")
    text = f"{_signed(found.as_dict(), 2)} edges, {found.n} networks"
    status = REACHED if found.high < 0 else SHORT
    return Target("d", goal, text, status, method == learners.PRETRAINED)


def difference(
    cells: Iterable[Mapping[str, Any]], method: str, rival: str, knowledge: str, measure: str
) -> Interval:
    """Method minus rival, paired by network, over the networks of all cells."""
    listed = list(cells)
    first, second = (
        [np.array(cell[knowledge][name][measure]) for cell in listed] for name in (method, rival)
    )
    return difference_interval(first, second)


def _signed(found: Mapping[str, Any], digits: int = 4) -> str:
    value, low, high = (f"{found[name]:+.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


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
