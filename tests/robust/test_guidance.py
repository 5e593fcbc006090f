"""Label weights hold for an epoch; the literal mode is shown to break that, as it is named for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from statformer.objectives.adversarial import accuracy_relaxation
from statformer.robust.classes import ClassCounts
from statformer.robust.guidance import ClassGuide, Guidance


def counted() -> ClassCounts:
    """Clean accuracies 0.8, 0.5, 0.2 and 0, robust ones 0.4, 0.5, 0.1 and 0."""
    counts = ClassCounts(4)
    y = torch.arange(4).repeat_interleave(10)
    place = torch.arange(10).repeat(4)
    clean = place < torch.tensor([8, 5, 2, 0])[y]
    robust = place < torch.tensor([4, 5, 1, 0])[y]
    counts.add(y, clean, robust)
    return counts


def gammas(guidance: Guidance, n_batches: int = 5) -> list[Tensor]:
    guide = ClassGuide(4, "cwr", "sklr", guidance)
    guide.begin_epoch(counted())
    seen = []
    for _ in range(n_batches):
        guide.begin_batch()
        seen.append(guide.gamma.clone())
    return seen


def is_constant(seen: list[Tensor]) -> bool:
    return all(torch.equal(one, seen[0]) for one in seen)


def test_gamma_is_constant_within_an_epoch() -> None:
    seen = gammas("epoch")
    assert is_constant(seen)
    assert seen[0].tolist() == pytest.approx([0.3, 0.6931, 0.9, 0.9], abs=1e-4)


def test_the_literal_mode_fails_that_check() -> None:
    seen = gammas("literal")
    assert not is_constant(seen)
    # The first batch is as it should be; then gamma is worked out from gamma, down to a cycle.
    assert torch.equal(seen[0], gammas("epoch")[0])
    assert torch.allclose(seen[1], accuracy_relaxation(seen[0]))
    assert [round(float(g[0]), 2) for g in seen] == [0.3, 0.9, 0.3, 0.9, 0.3]
    assert [round(float(g[1]), 2) for g in seen] == [0.69, 0.37, 0.9, 0.3, 0.9]


def test_the_warm_up_knows_no_accuracy() -> None:
    for relaxation, gamma in (("sklr", 0.9), ("sls", 0.9), (None, 1.0)):
        guide = ClassGuide(3, "cwr", relaxation)
        assert guide.is_warm_up
        assert guide.gamma.tolist() == pytest.approx([gamma] * 3)


def test_the_order_of_class_weights_is_reversed_between_the_relaxations() -> None:
    weights = {}
    for relaxation in ("sklr", "sls", None):
        guide = ClassGuide(4, "cwr", relaxation)
        guide.begin_epoch(counted())
        weights[relaxation] = guide.weights
    assert (weights["sklr"].diff() >= 0).all()
    assert weights["sls"].tolist() == pytest.approx([0.8, 0.5, 0.2, 0.0])
    assert torch.equal(weights["sls"], weights[None])
    uniform = ClassGuide(4, "uniform", "sls")
    uniform.begin_epoch(counted())
    assert uniform.weights.tolist() == [1.0] * 4


def test_groups_follow_the_accuracies() -> None:
    guide = ClassGuide(4, "agr", "sklr")
    guide.begin_epoch(counted())  # means 0.375 and 0.25
    assert guide.groups.tolist() == [3, 3, 0, 0]


@pytest.mark.parametrize(("regulariser", "relaxation"), [(None, None), (None, "sls")])
def test_no_clean_forward_where_nothing_asks_for_it(regulariser: None, relaxation: str) -> None:
    assert not ClassGuide(4, regulariser, relaxation).needs_clean
    assert ClassGuide(4, "cwr", relaxation).needs_clean
    assert ClassGuide(4, None, "sklr").needs_clean


def test_a_guide_goes_on_where_it_stood() -> None:
    guide = ClassGuide(4, "cwr", "sklr", "literal")
    guide.begin_epoch(counted())
    guide.begin_batch()
    again = ClassGuide(4, "cwr", "sklr", "literal")
    again.load(guide.state())
    for one in (guide, again):
        one.begin_batch()
    assert torch.equal(again.gamma, guide.gamma)
    assert torch.equal(again.weights, guide.weights)
    assert not again.is_warm_up
