"""(c) Rows per second of fitting a given structure and of drawing rows, beside three libraries.

Three categories, up to three parents; columns of numbers, of pandas categories, of text. Ours,
pgmpy and pyAgrum begin with the same DataFrame; pomegranate begins and ends with a tensor, so a
conversion that others pay is given to it. What is too slow for a cell gets fewer rows; numbers are
per row. Axes: n rows, v variables.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from statformer.benchmarks.bayesnet_rivals import (
    N_CATEGORIES,
    WORDS,
    Agrum,
    Parents,
    Pgmpy,
    Pomegranate,
    global_seeds_kept,
    libraries,
)
from statformer.benchmarks.bayesnet_settings import Bench, Sizes
from statformer.benchmarks.cost import threads
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.turns import take_turns
from statformer.estimators.bayes_net import AttentionBayesNet

OURS = "AttentionBayesNet, collapse=True"
ATTENTION = "AttentionBayesNet, the attention itself"
PGMPY, POMEGRANATE = "pgmpy", "pomegranate"
AGRUM, DATABASE = "pyAgrum", "pyAgrum, into its own database"
FITTED = (OURS, ATTENTION, PGMPY, POMEGRANATE, AGRUM)
DRAWN = (*FITTED, DATABASE)
NUMBERS = "numbers"
KINDS = (NUMBERS, "categories", "text")
MOST_PARENTS = 3
# cells (rows times variables) that a slow method is given
MANY_CELLS = 5 * 10**6  # the most that rivals draw, and that columns other than numbers have
MOST_FITTED = {ATTENTION: 10**4, POMEGRANATE: 10**5}
MOST_DRAWN = {ATTENTION: 10**4, POMEGRANATE: 10**4} | dict.fromkeys(
    (PGMPY, AGRUM, DATABASE), MANY_CELLS
)


def random_network(v: int, seed: int) -> dict[str, list[str]]:
    """Up to three parents for every variable, drawn among the earlier ones; in that order."""
    rng = np.random.default_rng([v, seed])
    parents: dict[str, list[str]] = {}
    for m in range(v):
        k = min(m, int(rng.integers(MOST_PARENTS + 1)))
        parents[f"x{m}"] = [f"x{p}" for p in sorted(rng.permutation(m)[:k].tolist())]
    return parents


def rows_of(parents: Parents, n: int, seed: int) -> pd.DataFrame:
    """n rows of a network whose tables are drawn from a flat Dirichlet law."""
    rng = np.random.default_rng([len(parents), n, seed])
    rows: dict[str, np.ndarray] = {}
    for name, of in parents.items():
        table = rng.dirichlet(np.ones(N_CATEGORIES), size=(N_CATEGORIES,) * len(of))
        below = table[tuple(rows[p] for p in of)].cumsum(axis=-1)[..., :-1]
        rows[name] = (rng.random(n)[:, None] >= below).sum(axis=-1)
    return pd.DataFrame(rows)


def run(bench: Bench) -> None:
    """Time what the record does not hold yet; nothing else should be running."""
    sizes = bench.sizes
    entries = [
        (v, n, kind)
        for v in sizes.variables
        for n in sizes.rows
        for kind in KINDS
        if kind == NUMBERS or v * n <= MANY_CELLS
    ]
    for i, (v, n, kind) in enumerate(entries):
        name = f"{v} variables, {n} rows, {kind}"
        if f"c: {name}" not in bench.record:
            bench.record.put(f"c: {name}", {"part": "c", **one_size(sizes, v, n, kind)})
        bench.callback(Progress("c", name, i + 1, len(entries)))


def one_size(sizes: Sizes, v: int, n: int, kind: str) -> dict[str, Any]:
    """Rows per second of fitting and drawing by number of threads."""
    libraries()  # an import is no fit
    parents = random_network(v, 0)
    df = rows_of(parents, n, 0)
    codes = torch.tensor(df.to_numpy())
    if kind == "categories":
        df = df.astype("category")
    elif kind == "text":
        df = pd.DataFrame(WORDS[df.to_numpy()], columns=df.columns).astype("str")
    fitted = {name: min(n, MOST_FITTED.get(name, n * v) // v) for name in FITTED}
    drawn = {name: min(n, MOST_DRAWN.get(name, n * v) // v) for name in DRAWN}
    timings = {}
    for at in threads():
        models: dict[str, Any] = {}

        def keep(name: str, fit: Callable[[], Any], models: dict[str, Any] = models) -> None:
            models[name] = fit()

        fits: dict[str, Callable[[], Any]] = {
            OURS: lambda: AttentionBayesNet(parents).fit(df),
            ATTENTION: lambda: AttentionBayesNet(parents, collapse=False).fit(
                df[: fitted[ATTENTION]]
            ),
            PGMPY: lambda: Pgmpy().fit(df, parents),
            POMEGRANATE: lambda: Pomegranate().fit(codes[: fitted[POMEGRANATE]], parents),
            AGRUM: lambda at=at: Agrum(at).fit(df, parents),  # type: ignore[misc]
        }
        keeping = {name: partial(keep, name, fit) for name, fit in fits.items()}
        fitting = take_turns(keeping, sizes.rounds, at)
        draws = {name: model.sample for name, model in models.items() if name != AGRUM}
        draws |= {AGRUM: models[AGRUM].sample_frame, DATABASE: models[AGRUM].sample}
        drawing_some = {name: partial(draw, drawn[name]) for name, draw in draws.items()}
        with global_seeds_kept():
            drawing = take_turns(drawing_some, sizes.rounds, at)
        timings[str(at)] = {"fit": _rates(fitting, fitted), "sample": _rates(drawing, drawn)}
    return {"variables": v, "rows": n, "fitted": fitted, "drawn": drawn, "timings": timings}


def _rates(timing: dict[str, Any], rows: dict[str, int]) -> dict[str, Any]:
    seconds = timing.pop("seconds")
    return {"rows per second": {name: rows[name] / s for name, s in seconds.items()}, **timing}
