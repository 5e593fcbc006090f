"""On MNIST with 200 unlabelled images, SimCLR pre-training lowers the test error of few labels.

arXiv 2409.18685, Appendix A, seen in secondary accounts: pre-training on 200 unlabelled images
against direct supervised training; losses and accuracies support the theory. Nothing else was
found, no number either. Ours are all settings: two digits, the image without the mean image as one
patch and Gaussian noise as the other, the network of the theory (filters that see both patches,
q = 3), and the strength of the noise, chosen on trial runs with other seeds so that few labels do
not do without pre-training. In further trials direct training gained nothing from steps five times
as short, lost from larger first filters, and gained from smaller ones: so these are what is
compared with. The least gain that counts was set after such trials too. In a first round at quick
size 10,000 steps were too few for some runs to be trained; it has 40,000 now.

The view of the theory has the same signal and fresh noise, so that it knows the class: here another
image of the class. Beside it stands a view that knows nothing: the same image, moved by up to two
pixels, and its own noise with a little more on it.

Axes: b methods, m filters per label, d pixels, r span coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments._simclr import (
    LOSS,
    POWER,
    cosines,
    fine_tune,
    n_pre_training_steps,
    pre_train,
)
from statformer.experiments._simclr_digits import (
    draw_parts,
    image_arrays,
    view_of_class,
    view_of_own,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.span import Span
from statformer.nn.vision import PatchClassifier, ReluPower
from statformer.plotting.chart import Chart, Panel, Series
from statformer.tasks.stream import TaskStream

# The two digits and the SNR; the last are those of the made images of the tests.
PAIRS = {"0 or 1": (0, 1, 0.3), "3 or 5": (3, 5, 0.8), "ring or stroke": (0, 1, 0.25)}
OF_MNIST = ("0 or 1", "3 or 5")
N_FILTERS, N_UNLABELLED = 20, 200
DIRECT, OF_CLASS, OF_OWN = "direct", "view of the class", "view of its own"
METHODS = (DIRECT, OF_CLASS, OF_OWN)
N_TIMES, LEAST_GAIN = 30, 0.02


def measure(
    cell: Cell, rng: np.random.Generator, *, pre_trains: bool = True, in_place: bool = True
) -> Sequence[Row]:
    """Losses and errors of three methods on the way, from the same filters, images and labels.

    Of a row, `part` says what it is about: "filters" (the mean |cos| of their image part with the
    difference of the classes), "curve" (a step) or "end". A fault mixes the pixels of the
    pre-trained filters up: the same numbers, not where they were.
    """
    stream = TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
    images = image_arrays(cell["images"])
    first, second, snr = PAIRS[cell["digits"]]
    sizes = (N_UNLABELLED, cell["n"], cell["n_test"])
    parts = draw_parts(images, (first, second), snr, sizes, stream)
    shape = images.train_images.shape[1], images.train_images.shape[2]
    views = torch.cat([view_of_class(parts, stream), view_of_own(parts, shape, stream)])
    W = cell["sigma0"] * stream.normal(N_FILTERS, views.shape[-1])
    order = stream.permutation(N_FILTERS).expand(len(METHODS), -1)
    n_steps = n_pre_training_steps(cell["sigma0"]) if pre_trains else 0
    Z = parts.unlabelled.sum(2).expand(len(views), -1, -1)
    after = pre_train(W.expand(len(views), -1, -1), Z, views.sum(2), n_steps)
    if not in_place:
        after = after[..., stream.permutation(W.shape[-1])[0]]
    filters = torch.cat([W, after])
    span = Span.of(parts.labelled.flatten(1, 2).expand(len(METHODS), -1, -1), filters)
    X, X_test = (
        span.inside(part.expand(len(METHODS), -1, -1, -1)) for part in (parts.labelled, parts.test)
    )
    network = PatchClassifier.from_split(span.inside(filters), order, ReluPower(POWER))
    times = frozenset(np.geomspace(1, cell["most_steps"], N_TIMES).astype(int).tolist())
    found = fine_tune(
        network,
        X,
        parts.labels.expand(len(METHODS), -1),
        X_test,
        parts.test_labels.expand(len(METHODS), -1),
        cell["most_steps"],
        times=times,
    )
    difference = _difference(parts.unlabelled[:, :, 0], parts.classes)
    aligned = cosines(filters, difference.expand(len(METHODS), -1)).abs().mean(1)
    rows: list[Row] = []
    for b, method in enumerate(METHODS):
        about: Row = {"method": method, "note": images.note}
        rows.append({**about, "part": "filters", "cosine": float(aligned[b])})
        rows += [
            {
                **about,
                "part": "end" if i == len(found.times) - 1 else "curve",
                "step": t,
                "train_loss": float(found.train_loss[i, b]),
                "train_error": float(found.train_error[i, b]),
                "test_loss": float(found.test_loss[i, b]),
                "test_error": float(found.test_error[i, b]),
            }
            for i, t in enumerate(found.times)
        ]
    return rows


def _difference(image: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean image of the class +1 minus that of -1."""
    is_second = (y > 0).to(image.dtype)[..., None]
    first, second = (
        (weight * image).sum(1) / weight.sum(1) for weight in (1 - is_second, is_second)
    )
    return second - first


def holds(table: pd.DataFrame) -> Verdict:
    """Direct training errs more, seed by seed, than either pre-training; all are trained."""
    ends = table[table["part"] == "end"]
    verdicts = []
    for (digits, n, sigma0), rows in ends.groupby(["digits", "n", "sigma0"]):
        wide = rows.pivot_table(index="seed", columns="method", values="test_error")
        for method in (OF_CLASS, OF_OWN):
            gain, without = over_seeds(wide[DIRECT] - wide[method]), over_seeds(wide[DIRECT])
            verdicts.append(
                Verdict.above(
                    gain.value,
                    LEAST_GAIN,
                    threshold_source="ours",
                    interval=gain.interval,
                    what=f"{digits}, n = {n}, sigma0 = {sigma0:g}: error of direct training, "
                    f"{without.value:.3f}, minus that after pre-training, {method},",
                )
            )
    verdicts.append(
        Verdict.below(
            float(ends["train_loss"].max()),
            LOSS,
            threshold_source="ours",
            what="largest training loss",
        )
    )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """What the filters see, and losses and accuracies on the way, at one number of labels."""
    n = 20 if (table["n"] == 20).any() else table["n"].min()
    table = table[(table["n"] == n) & (table["sigma0"] == table["sigma0"].max())]
    bars, panels = [], []
    digits = sorted(table["digits"].unique())
    for method in METHODS:
        filters = table[(table["part"] == "filters") & (table["method"] == method)]
        found = [over_seeds(filters[filters["digits"] == pair]["cosine"]) for pair in digits]
        bars.append(
            Series(
                method,
                list(range(len(found))),
                [one.value for one in found],
                [one.low for one in found],
                [one.high for one in found],
                "bars",
            )
        )
    panels.append(
        Panel(
            "Filters before fine-tuning",
            "",
            "mean |cos(w, difference)|",
            bars,
            categories=digits,
        )
    )
    for pair in digits:
        rows = table[(table["digits"] == pair) & (table["part"] != "filters")]
        for column, label in (("loss", "logistic loss"), ("accuracy", "accuracy")):
            series = [
                _curve(rows[rows["method"] == method], part, column, method)
                for method in METHODS
                for part in ("train", "test")
            ]
            panels.append(
                Panel(f"{pair}, n = {n}", "step", label, series, log_x=True, log_y=column == "loss")
            )
    note = " ".join(sorted(set(table["note"])))
    return Chart(
        panels,
        "Mean over seeds with 95 % intervals; dashed on the labelled images, solid on test images. "
        f"A run that has reached the training loss stays where it is. {note}".strip(),
    )


def _curve(rows: pd.DataFrame, part: str, column: str, method: str) -> Series:
    """A column over steps; seeds that have ended keep their last value."""
    name = f"{part}_{'error' if column == 'accuracy' else column}"
    wide = rows.pivot_table(index="step", columns="seed", values=name).ffill().dropna()
    filled = (1.0 - wide if column == "accuracy" else wide).reset_index()
    curve = seed_curve(filled.melt("step", value_name="value"), "step", "value")
    floor = 0.0 if column == "accuracy" else 1e-3
    return Series(
        f"{method}, {part}",
        curve["x"].to_list(),
        curve["value"].to_list(),
        curve["low"].clip(lower=floor).to_list(),
        curve["high"].clip(upper=1.0 if column == "accuracy" else np.inf).to_list(),
        "dashed" if part == "train" else "line",
    )


EXPERIMENT = Experiment(
    claim="On MNIST beside noise, pre-training on 200 unlabelled images lowers the test error of "
    "few labels, also with a view that does not know the class.",
    paper="2409.18685",
    source="Appendix A, in secondary accounts; the view without the class, all settings and the "
    "thresholds are ours",
    kind="learnability",
    grid={
        "images": ("mnist",),
        "digits": OF_MNIST,
        "n": (10, 20, 50),
        "sigma0": (1e-4, 1e-5),
        "n_test": (1000,),
        "most_steps": (100_000,),
    },
    quick={
        "images": ("mnist",),
        "digits": OF_MNIST,
        "n": (20,),
        "sigma0": (1e-5,),
        "n_test": (1000,),
        "most_steps": (40_000,),
    },
    tiny={
        "images": ("made",),
        "digits": ("ring or stroke",),
        "n": (12,),
        "sigma0": (1e-4,),
        "n_test": (200,),
        "most_steps": (3000,),
    },
    n_seeds=20,
    quick_seeds=16,
    tiny_seeds=6,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="only the number of unlabelled images is the authors'; digits, labels, "
    f"patches, noise, network, q = {POWER:g}, loss, temperature and steps were not found",
    controls={
        "no pre-training": Control(
            measure=partial(measure, pre_trains=False), says="filters are tuned as first drawn"
        ),
        "mixed pixels": Control(
            measure=partial(measure, in_place=False),
            says="the pixels of the pre-trained filters are mixed up",
        ),
    },
    cost="quick 90 s on one core",
)
