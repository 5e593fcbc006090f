"""Is the trained network doing EM? Its layers are replaced by EM's steps (arXiv 2502.06007).

The paper's theory writes EM into layers; whether training finds EM is not claimed there, so the
question and the thresholds are ours. A network is trained from noise. Then, in one layer at a time:

  M pattern, E pattern   the attention pattern of every head becomes EM's (responsibilities that the
                         network reads out before the layer, divided by their sums; the E step under
                         the means that EM's M step makes of them); the value maps stay
  centre tokens          the centre tokens after the layer's M half become a linear function of
                         simple features of EM's M step, fitted on other tables

Damage is the share of points whose label differs from the unharmed network's. Controls: the same
with responsibilities that are shuffled over the points, and with uniform ones. The network does EM
there when EM's step damages far less than the shuffled one. Measured too, and not judged: hard
(Lloyd) responsibilities, and no step at all (what EM computes from the start's own means). That the
tokens resemble EM's iterates is drawn, and decides nothing: R^2 of the centre tokens of a layer
from EM's means after t steps, beyond what the start explains. The positive control is the network
that is EM by construction. It failed at first, for want of pi in the E step and among the features;
they were put in after a first quick run (which had the same verdict), the thresholds stayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._em_networks import NOT_THE_AUTHORS, held_out, small_recipe, train
from statformer.experiments._em_replaced import (
    PARTS,
    VARIANTS,
    Replacer,
    constructed,
    in_double,
    token_r2,
)
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, HeatMap, Panel, Series

MOST_SHARE = 0.25  # of the damage of the shuffled control
N_EM_STEPS = 8


def measure(
    cell: Cell, rng: np.random.Generator, labels_mixed: bool = False, is_em: bool = False
) -> Sequence[Row]:
    """Damage of each replacement in each layer, and R^2 of tokens from EM's means.

    With `labels_mixed` what is called EM is the shuffled control; with `is_em` the network is not
    trained but constructed to be EM.
    """
    recipe = small_recipe(n_layers=cell["n_layers"])
    fitting, batch = (held_out(recipe, cell["n_tables"], block=block) for block in (1, 0))
    if is_em:
        network = constructed(recipe.prior.n_features, recipe.prior.n_components, recipe.n_layers)
        fitting, batch = in_double(fitting), in_double(batch)
    else:
        network = train(recipe, cell["n_steps"], rng)
    replacer = Replacer(network, fitting)
    rows: list[Row] = []
    for layer in range(cell["n_layers"]):
        for part in PARTS:
            for variant in VARIANTS:
                used = "shuffled" if labels_mixed and variant == "EM" else variant
                damage = replacer.damage(batch, layer, part, used)
                rows.append({"layer": layer + 1, "part": part, "what": variant, "value": damage})
    for layer, r2 in enumerate(token_r2(network, batch, N_EM_STEPS), start=1):
        for t, value in enumerate(r2, start=1):
            rows.append({"layer": layer, "part": f"R2 {t}", "what": "R2", "value": value})
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """For each part: damage by EM's step over damage by the shuffled one, all layers together."""
    verdicts = []
    for part in PARTS:
        rows = table[table["part"] == part]
        total = rows.pivot_table(index="seed", columns="what", values="value", aggfunc="sum")
        share = over_seeds(total["EM"] / total["shuffled"].clip(lower=1e-9))
        verdicts.append(
            Verdict.below(
                share.value,
                MOST_SHARE,
                threshold_source="ours",
                interval=share.interval,
                what=f"{part}: damage by EM's step / by the shuffled one",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Damage by part and variant, a panel per part; and the R^2 of tokens as a map."""
    panels = []
    for part in PARTS:
        rows = table[table["part"] == part]
        layers = sorted(rows["layer"].unique())
        series = []
        for variant in VARIANTS:
            one = rows[rows["what"] == variant]
            found = [over_seeds(one.loc[one["layer"] == layer, "value"]) for layer in layers]
            places = [float(i) for i in range(len(layers))]
            series.append(Series(variant, places, [f.value for f in found], style="bars"))
        names = [f"layer {layer}" for layer in layers]
        panels.append(Panel(part, "", "labels that change", series, categories=names))
    alike = table[table["what"] == "R2"]
    t = alike["part"].str.removeprefix("R2 ").astype(int)
    z = alike.assign(t=t).pivot_table(index="layer", columns="t", values="value")
    x, y = [float(t) for t in z.columns], [float(layer) for layer in z.index]
    heat = HeatMap(x, y, z.to_numpy().tolist(), "R^2 beyond the start")
    panels.append(Panel("Centre tokens and EM's means", "EM step t", "layer", heat=heat))
    return Chart(
        panels, "Means over training seeds. The map shows resemblance, which decides nothing."
    )


EXPERIMENT = Experiment(
    claim="The layers of a network trained from noise do what EM's steps do.",
    paper="2502.06007",
    source="ours: the theory writes EM into layers, and does not say what training finds",
    kind="mechanism",
    grid={"n_layers": (2, 3, 6), "n_steps": (6000,), "n_tables": (1000,)},
    quick={"n_layers": (3,), "n_steps": (500,), "n_tables": (400,)},
    tiny={"n_layers": (2,), "n_steps": (5,), "n_tables": (30,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    cost="quick 54 s of one core of a busy machine",
    not_the_authors=NOT_THE_AUTHORS,
    control_size="quick",
    positive=Control(
        measure=partial(measure, is_em=True), says="a network that is EM by construction"
    ),
    controls={
        "shuffled as EM": Control(
            measure=partial(measure, labels_mixed=True),
            says="what is put in as EM's step is shuffled over the points",
        )
    },
)
