"""Three phases of a patch transformer: values grow, then attention moves, then the loss converges.

arXiv 2409.19345 tells of three phases and shows attention and the projections of W_Q, W_K, W_V and
w_O with bands of two standard deviations (Figure 3), seen through summaries. What the phases are
is not found; these are ours, set before this file was written:

    1 values     until attention on the signal has come a tenth of its way; the signal's value
                 mu W_V w_O has by then grown to ten times its size at the start
    2 attention  until it has come nine tenths; it does not fall back by more than 0.01 after
                 phase 1
    3 the loss   which is still at least twice what it ends at

In the harmful runs the noise is memorised: its value y xi W_V w_O exceeds that of the signal, and
attention leaves the signal. The setting was chosen after first trials, which had these phases.

Axes: b runs (benign, harmful), n points, p patches, t tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from statformer.experiments._seeds import over_seeds
from statformer.experiments._vit_data import VitData, outcome
from statformer.experiments._vit_runs import Tokens, VitRuns, VitSetting
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

REGIMES = {"benign": 40.0, "harmful": 0.5}  # N SNR^2
EVERY = 4  # steps between records
N_FRESH = 1000
LENGTHS = ("W_Q", "W_K", "W_V")


@torch.no_grad()
def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    attends: bool = True,
    labels: bool = True,
    weak: bool = True,
) -> Sequence[Row]:
    """Both runs on the way. `attends` False keeps attention uniform, `labels` False draws them
    anew, `weak` False gives the harmful run the signal of the benign one."""
    setting = VitSetting(n_features=cell["n_features"])
    data = VitData.of(setting, cell["n"], int(rng.integers(2**62)))
    data = data if labels else data.relabelled()
    products = list(REGIMES.values()) if weak else [REGIMES["benign"]] * 2
    snrs = [(product / cell["n"]) ** 0.5 for product in products]
    runs = data.runs(snrs, start_qk=None if attends else 0.0)
    records: list[dict[str, Tensor]] = []
    steps: list[int] = []

    def watch(step: int, tokens: Tokens, pattern: Tensor, loss: Tensor) -> None:
        if step % EVERY == 0:
            steps.append(step)
            records.append(_record(runs, tokens, pattern, loss))

    runs.descend(watch)
    test = outcome(runs, data.fresh(N_FRESH)).test
    start_value = setting.start_v * setting.start_o * setting.width**0.5
    return [
        {
            "regime": regime,
            "step": step,
            "test": float(test[j]),
            "start_value": start_value * snrs[j],
            **{name: float(values[j]) for name, values in record.items()},
        }
        for step, record in zip(steps, records, strict=True)
        for j, regime in enumerate(REGIMES)
    ]


def _record(runs: VitRuns, tokens: Tokens, pattern: Tensor, loss: Tensor) -> dict[str, Tensor]:
    """Values, lengths of projections and attention of each run; a noise token's are averages."""
    of_tokens = runs.values()
    found = {
        "loss": loss,
        "attention": pattern[:, :, 0].mean((0, 1)),
        "signal value": (of_tokens[1] - of_tokens[0]) / 2.0,
        "noise value": (runs.y[:, None, None] * tokens.values[:, 1:]).mean((0, 1)),
        "w_O": runs.w_O.norm(dim=-1),
    }
    for name in LENGTHS:
        lengths = runs.products(name).norm(dim=-1)
        found[f"signal {name}"] = lengths[:2].mean(0)
        found[f"noise {name}"] = lengths[2:].mean(0)
    return found


def phases(run: pd.DataFrame) -> dict[str, float]:
    """Of one benign run's records: the ends of the first two phases and what the claim asks."""
    run = run.sort_values("step")
    attention = run["attention"].to_numpy()
    rise = attention[-1] - attention[0]
    ends = [int(np.argmax(attention >= attention[0] + part * rise)) for part in (0.1, 0.9)]
    after = attention[ends[0] :]
    value = run["signal value"].to_numpy()[ends[0]]
    loss = run["loss"].to_numpy()
    return {
        "rise": rise,
        "fall": float((np.maximum.accumulate(after) - after).max()),
        "growth": float(value / run["start_value"].iloc[0]),
        "left": float(loss[ends[1]] / loss[-1]),
        "end 1": float(run["step"].iloc[ends[0]]),
        "end 2": float(run["step"].iloc[ends[1]]),
    }


def holds(table: pd.DataFrame) -> Verdict:
    """Means over seeds, each the worst over N."""
    runs = [
        {"n": n, "seed": seed, **phases(run)}
        for (n, seed), run in table[table["regime"] == "benign"].groupby(["n", "seed"])
    ]
    found = pd.DataFrame(runs).groupby("seed")
    last = table.loc[table.groupby(["n", "seed", "regime"])["step"].idxmax()]
    sides = {regime: last[last["regime"] == regime].set_index(["n", "seed"]) for regime in REGIMES}
    start = table[(table["step"] == 0) & (table["regime"] == "harmful")].set_index(["n", "seed"])
    ahead = {
        regime: (rows["signal value"] - rows["noise value"]).groupby("seed")
        for regime, rows in sides.items()
    }
    moved = (sides["harmful"]["attention"] - start["attention"]).groupby("seed")
    checks = [
        (found["rise"].min(), "above", 0.25, "benign: rise of attention on the signal"),
        (found["fall"].max(), "below", 0.01, "its largest fall after phase 1"),
        (found["growth"].min(), "above", 10.0, "signal value after phase 1 / at the start"),
        (found["left"].min(), "above", 2.0, "loss after phase 2 / at the end"),
        (ahead["benign"].min(), "above", 0.0, "signal value - noise value"),
        (sides["benign"]["test"].groupby("seed").max(), "below", 0.2, "test loss"),
        (moved.max(), "below", 0.0, "harmful: change of attention on the signal"),
        (ahead["harmful"].max(), "below", 0.0, "signal value - noise value"),
        (sides["harmful"]["test"].groupby("seed").min(), "above", 0.5, "test loss"),
    ]
    verdicts = []
    for values, side, threshold, what in checks:
        seen = over_seeds(values)
        decide = Verdict.below if side == "below" else Verdict.above
        verdicts.append(
            decide(
                seen.value, threshold, threshold_source="ours", interval=seen.interval, what=what
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Attention and loss, then values and projections of signal and noise in either regime."""
    rows = table[table["n"] == table["n"].max()]
    sides = {regime: rows[rows["regime"] == regime] for regime in REGIMES}
    patches = VitSetting().n_patches
    panels = [
        Panel(
            "Attention on the signal",
            "step",
            "mean over points and queries",
            [_band(side, "attention", regime) for regime, side in sides.items()],
            rule=1.0 / patches,
            rule_label="uniform",
        ),
        Panel(
            "Training loss",
            "step",
            "logistic loss",
            [_band(side, "loss", regime) for regime, side in sides.items()],
            log_y=True,
        ),
    ]
    for regime, side in sides.items():
        values = [_band(side, f"{of} value", of) for of in ("signal", "noise")]
        panels.append(Panel(f"Values, {regime}", "step", "y x W_V w_O", values))
    for regime, side in sides.items():
        lengths = [
            _band(side, f"{of} {name}", f"{of} {name}")
            for of in ("signal", "noise")
            for name in LENGTHS
        ]
        lengths.append(_band(side, "w_O", "w_O"))
        panels.append(Panel(f"Projections, {regime}", "step", "length of x W", lengths, log_y=True))
    return Chart(panels, "Mean over seeds; bands of two standard deviations.")


def _band(rows: pd.DataFrame, column: str, label: str) -> Series:
    """The mean over seeds and two standard deviations; a run that has ended keeps its values."""
    wide = rows.pivot_table(index="step", columns="seed", values=column).ffill()
    mean, spread = wide.mean(axis=1), 2.0 * wide.std(axis=1, ddof=0)
    low, high = ((mean + side * spread).to_list() for side in (-1, 1))
    return Series(label, list(wide.index), mean.to_list(), low, high)


EXPERIMENT = Experiment(
    claim="In benign runs values grow, then attention turns to the signal, then the loss "
    "converges; in harmful runs the noise is memorised.",
    paper="2409.19345",
    source="abstract and Figure 3, seen through summaries; phases and thresholds are ours",
    kind="learnability",
    grid={"n": (32, 64, 128), "n_features": (4000,)},
    quick={"n": (64,), "n_features": (4000,)},
    tiny={"n": (32,), "n_features": (1000,)},
    n_seeds=10,
    quick_seeds=6,
    tiny_seeds=4,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="tokens, sizes, noise, start, step size, stopping and the limits of the "
    "phases were not found and are ours",
    controls={
        "uniform attention": Control(
            measure=partial(measure, attends=False), says="W_Q and W_K are 0 and stay so"
        ),
        "labels without a signal": Control(
            measure=partial(measure, labels=False), says="labels are coins"
        ),
        "a strong signal in both": Control(
            measure=partial(measure, weak=False), says="N SNR² is 40 in the harmful runs too"
        ),
    },
    cost="quick 4 s, full 25 s on one core",
)
