"""Verdicts of the spectral bench follow the numbers of its cells."""

from __future__ import annotations

from typing import Any

import pytest

from statformer.benchmarks import spectral_robust
from statformer.benchmarks.robust_pca_rivals import SVD
from statformer.benchmarks.spectral_networks import GAUSSIANS, IMAGES, POWER
from statformer.benchmarks.spectral_read_outs import LINEAR, MLP
from statformer.benchmarks.spectral_robust import OURS
from statformer.benchmarks.spectral_targets import targets
from statformer.benchmarks.verdicts import MISSING, REACHED, SHORT


def robust_cell(group: str, ours: float, svd: float, pursuit: float) -> dict[str, Any]:
    """A cell of ten tables with constant angles."""
    rows: dict[str, list[Any]] = {}
    given = dict.fromkeys(spectral_robust.METHODS, 80.0)
    given |= {OURS: ours, SVD: svd, "principal component pursuit": pursuit}
    for name, angle in given.items():
        rows[name] = [angle] * 10
        rows[f"crashed: {name}"] = [0] * 10
    return {"part": "c", "group": group, **spectral_robust.summary(rows)}


def test_verdicts_of_corrupted_tables_follow_the_angles() -> None:
    def verdicts(cells: dict[str, Any]) -> list[str]:
        return [t.status for t in targets(cells, "c") if t.is_headline]

    good = {
        "c: clean": robust_cell("clean", 6.0, 5.0, 9.0),
        "c: rows": robust_cell("outlying rows", 7.0, 50.0, 8.0),
        "c: cells": robust_cell("outlying cells", 12.0, 50.0, 8.0),
    }
    assert verdicts(good) == [REACHED] * 4
    of_other = [t for t in targets(good, "c") if t.goal.startswith(spectral_robust.OTHER)]
    assert [(t.status, t.is_headline) for t in of_other] == [(SHORT, False)] * 3  # 80 degrees
    far = good | {"c: clean": robust_cell("clean", 7.1, 5.0, 9.0)}
    assert verdicts(far) == [SHORT, REACHED, REACHED, REACHED]
    lost = good | {"c: tails": robust_cell("heavy tails", 9.0, 8.0, 50.0)}
    assert verdicts(lost) == [REACHED, SHORT, REACHED, REACHED]
    behind = good | {"c: cells": robust_cell("outlying cells", 13.5, 50.0, 8.0)}
    assert verdicts(behind) == [REACHED, REACHED, SHORT, REACHED]
    assert verdicts({"c: rows": good["c: rows"]})[0] == MISSING
    crashed = robust_cell("clean", 6.0, 5.0, 9.0)
    crashed["crash rate"][OURS] = 0.1
    assert verdicts(good | {"c: clean": crashed})[-1] == SHORT


def paper_cell(
    target: str, D: int, mean: list[float], images: list[float], depths: dict[int, float]
) -> dict[str, Any]:
    """A cell in which plain networks of several depths answer alike but for their first score."""
    names = {f"deep{layers}": layers for layers in depths}
    about = {
        name: {"layers": layers, "attention": "relu", "auxiliary": False}
        for name, layers in names.items()
    }
    scores: dict[str, Any] = {
        name: {"mean": [depths[layers], *mean[1:]]} for name, layers in names.items()
    }
    deepest = f"deep{max(depths)}"
    scores[deepest] = {"mean": mean}
    for rival in (LINEAR, MLP, *(POWER.format(layers) for layers in depths)):
        scores[rival] = {"mean": [0.5] * len(mean)}
    both = {GAUSSIANS: scores, IMAGES: {deepest: {"mean": images}}}
    sizes = {"D": D, "N": 20, "k": len(mean), "target": target}
    return {"part": "b", **sizes, "networks": about, "scores": both}


def test_verdicts_of_the_paper_s_claims() -> None:
    cells = {
        "b: 1": paper_cell("values", 2, [0.01, 0.02], [0.1, 0.2], {2: 0.2, 6: 0.05, 12: 0.01}),
        "b: 2": paper_cell("values", 10, [0.05, 0.06], [0.5, 0.6], {12: 0.05}),
        "b: 3": paper_cell("vectors", 2, [0.99, 0.9], [0.9, 0.4], {2: 0.8, 6: 0.97, 12: 0.99}),
        "b: 4": paper_cell("vectors", 10, [0.8, 0.4], [0.7, 0.3], {12: 0.8}),
    }
    found = {t.goal: t.status for t in targets(cells, "b")}
    assert len(found) == 5 + 4 + 2 + 3 + 1 + 2 * 6
    assert {goal for goal, status in found.items() if status == SHORT} == set()
    missing = {goal for goal, status in found.items() if status == MISSING}
    assert missing == {
        "ReLU attention better than softmax",
        "auxiliary rows can be spared: at most 1.1 times the loss without",
        "networks up to D 40, as in the paper",
    }
    worse = dict(cells)
    worse["b: 1"] = paper_cell("values", 2, [0.03, 0.6], [0.031, 0.6], {2: 0.02, 6: 0.02, 12: 0.03})
    worse["b: 3"] = paper_cell("vectors", 2, [0.7, 0.8], [0.4, 0.7], {2: 0.9, 6: 0.8, 12: 0.7})
    short = {t.goal for t in targets(worse, "b") if t.status == SHORT}
    assert short >= {
        "eigenvalues, small D: relative squared error below 2%",
        "eigenvalues: the error grows with D",
        "eigenvectors, small D: |cos| of the first at least 0.95",
        "eigenvectors: |cos| falls with D",
        "eigenvectors: |cos| falls with the index of the component",
        "more layers: lower error of the eigenvalues",
        "more layers: higher |cos|",
        "images: the first vector is the best one",
        "images: |cos| of the later vectors at most 0.5",
    }
    assert {t.status for t in targets({}, "b")} == {MISSING}


@pytest.mark.parametrize(
    ("softmax", "auxiliary", "statuses"),
    [
        (0.85, 0.9, [REACHED, REACHED]),
        (0.95, 0.93, [SHORT, SHORT]),
    ],
)
def test_verdicts_of_the_variants(softmax: float, auxiliary: float, statuses: list[str]) -> None:
    cell = paper_cell("vectors", 40, [0.9], [0.9], {3: 0.9})
    for name, attention, is_auxiliary, score in (
        ("soft", "softmax", False, softmax),
        ("aux", "relu", True, auxiliary),
        ("both", "softmax", True, 0.99),
    ):
        cell["networks"][name] = {"layers": 3, "attention": attention, "auxiliary": is_auxiliary}
        cell["scores"][GAUSSIANS][name] = {"mean": [score]}
    found = {t.goal: t.status for t in targets({"b: 1": cell}, "b")}
    assert found["ReLU attention better than softmax"] == statuses[0]
    assert found["auxiliary rows can be spared: at most 1.1 times the loss without"] == statuses[1]
    assert found["networks up to D 40, as in the paper"] == REACHED
