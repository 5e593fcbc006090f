"""Counts of classes match a recomputation, on unbalanced data too, and see misalignment."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator

from statformer.robust.classes import ClassCounts, class_accuracies, spread


def test_counts_match_a_recomputation_on_unbalanced_data() -> None:
    rng = Generator().manual_seed(0)
    shares = torch.tensor([0.7, 0.2, 0.09, 0.01, 0.0])
    counts, batches = ClassCounts(5), []
    for n in (64, 64, 17):
        y = torch.multinomial(shares, n, replacement=True, generator=rng)
        clean, robust = (torch.rand(n, generator=rng) < p for p in (0.8, 0.4))
        counts.add(y, clean, robust)
        batches.append((y, clean, robust))
    y, clean, robust = (torch.cat(parts) for parts in zip(*batches, strict=True))
    for k in range(4):
        assert counts.clean[k] == clean[y == k].double().mean()
        assert counts.robust[k] == robust[y == k].double().mean()
    assert counts.clean[4].isnan()
    assert counts.clean_mean == pytest.approx(float(clean.double().mean()))
    assert counts.n_images.tolist() == [int((y == k).sum()) for k in range(5)]
    # What the released code divides by is wrong here, so the test could fail.
    assert counts.clean[0] != (clean[y == 0].sum() * 5 / len(y)).double()


def test_what_was_not_looked_at_is_not_counted() -> None:
    counts = ClassCounts(2)
    counts.add(torch.tensor([0, 1]), None, torch.tensor([True, False]))
    assert counts.clean.isnan().all()
    assert counts.robust.tolist() == [1.0, 0.0]
    assert class_accuracies(torch.tensor([True, False]), torch.tensor([0, 0]), 1).tolist() == [0.5]


def test_misaligned_classes_are_on_different_sides_of_the_means() -> None:
    counts = ClassCounts(3)
    y = torch.arange(3).repeat_interleave(4)
    clean = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]).bool()  # 1, 1/2, 0
    robust = torch.tensor([0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0]).bool()  # 0, 1/4, 1/2
    counts.add(y, clean, robust)
    assert counts.misaligned.tolist() == [True, False, True]


def test_spread_leaves_out_classes_without_an_image() -> None:
    found = spread(np.array([0.2, np.nan, 0.8]))
    assert found == pytest.approx((0.6, 0.3, 0.2))
    with pytest.raises(ValueError, match="all NaN"):
        spread(np.array([np.nan]))
