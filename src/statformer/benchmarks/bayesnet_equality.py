"""(b) Our tables beside pgmpy's maximum likelihood, wherever the parents were seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from statformer.benchmarks.bayesnet_cost import random_network, rows_of
from statformer.benchmarks.bayesnet_rivals import Pgmpy
from statformer.benchmarks.bayesnet_settings import Bench
from statformer.benchmarks.settings import Progress
from statformer.estimators.bayes_net import AttentionBayesNet

SHAPES = ((5, 100), (5, 1000), (10, 100), (10, 1000))  # variables, rows
WAYS = {"collapse=True": True, "the attention itself": False}


def run(bench: Bench) -> None:
    """Measure the cells that the record does not hold yet."""
    for i, (v, n) in enumerate(SHAPES):
        name = f"{v} variables, {n} rows"
        if f"b: {name}" not in bench.record:
            found = [gaps(v, n, seed) for seed in range(bench.sizes.compared_networks)]
            largest = {way: max(one[way] for one in found) for way in WAYS}
            cell = {"networks": len(found), "largest gap": largest}
            bench.record.put(f"b: {name}", {"part": "b", **cell})
        bench.callback(Progress("b", name, i + 1, len(SHAPES)))


def gaps(v: int, n: int, seed: int) -> dict[str, float]:
    """Largest difference to pgmpy over the tables of one random network, by form of ours."""
    parents = random_network(v, seed)
    df = rows_of(parents, n, seed)
    theirs = Pgmpy().fit(df, parents).network
    found = {}
    for way, collapse in WAYS.items():
        model = AttentionBayesNet(parents, collapse=collapse).fit(df)
        found[way] = max(largest_gap(model, df, theirs.get_cpds(name)) for name in parents)
    return found


def largest_gap(model: AttentionBayesNet, df: pd.DataFrame, cpd: Any) -> float:
    """Over the rows of the fit: p of every category given the parents' values, ours and theirs."""
    name, *parents = cpd.variables
    states = [cpd.state_names[variable] for variable in (name, *parents)]
    place = [
        df[p].map(dict(zip(s, range(len(s)), strict=True)))
        for p, s in zip(parents, states[1:], strict=True)
    ]
    theirs: Float[np.ndarray, "d *n"] = cpd.values[(slice(None), *place)]
    table = model.cpds_[name][states[0]]
    if not parents:
        return float(np.abs(table.to_numpy()[0] - theirs).max())
    ours = table.loc[pd.MultiIndex.from_frame(df[model.structure_[name]])].to_numpy()
    return float(np.abs(ours.T - theirs).max())
