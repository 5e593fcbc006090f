"""Shapes: curves where they should be, groups apart, nothing in one column."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from statformer.tasks.shapes import SHAPES, shaped
from statformer.tasks.stream import TaskStream

B, N = 24, 600


def drawn(shape: str, c: int, d: int, thickness: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    stream = TaskStream(2, 0, range(B))
    y = stream.integers(0, c, N)
    z = thickness * stream.normal(N, d)
    on = torch.tensor([name == shape for name in SHAPES]).expand(B, -1)
    return shaped(stream, y, torch.ones(B, c, dtype=torch.bool), z, on), y


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d", [2, 3, 20])
def test_neighbours_are_of_one_cluster(shape: str, d: int) -> None:
    X, y = drawn(shape, 5, d)
    assert X.shape == (B, N, d)
    assert X.isfinite().all()
    same = []
    for x, labels in zip(X.numpy(), y.numpy(), strict=True):
        near = cKDTree(x).query(x, 2)[1][:, 1]
        same.append((labels == labels[near]).mean())
    assert np.mean(same) > 0.9
    assert np.median(same) > 0.95


@pytest.mark.parametrize("shape", ["rings", "moons", "spirals", "filaments", "nested"])
def test_gaussian_clusters_do_not_describe_them_but_chains_do(shape: str) -> None:
    """Single linkage of thin shapes finds them; Ward, which wants balls, does not."""
    X, y = drawn(shape, 3, 2, thickness=0.2)
    scores = {}
    for linkage in ("single", "ward"):
        model = AgglomerativeClustering(3, linkage=linkage)
        scores[linkage] = np.mean(
            [
                adjusted_rand_score(labels, model.fit_predict(x))
                for x, labels in zip(X.numpy(), y.numpy(), strict=True)
            ]
        )
    assert scores["single"] > 0.75
    assert scores["single"] > scores["ward"] + 0.05


def test_a_ring_is_hollow_and_a_nest_is_not() -> None:
    """Points near the middle of a group: none in a ring, many in a nest's blob."""
    inside = {}
    for shape in ("rings", "nested"):
        X, y = drawn(shape, 1, 2)
        assert (y == 0).all()
        away = (X - X.median(1, keepdim=True).values).norm(dim=-1)
        inside[shape] = (away < 0.3 * away.quantile(0.9, dim=1, keepdim=True)).double().mean()
    assert inside["rings"] < 0.05
    assert inside["nested"] > 0.1


def test_densities_differ() -> None:
    X, y = drawn("density", 4, 2)
    spreads = torch.stack(
        [
            torch.stack([x[labels == k].std(0).mean() for k in range(4)])
            for x, labels in zip(X, y, strict=True)
        ]
    )
    assert (spreads.amax(-1) / spreads.amin(-1)).median() > 3


def test_shapes_mix_where_several_are_on() -> None:
    stream = TaskStream(2, 0, range(B))
    y = stream.integers(0, 6, N)
    present = torch.ones(B, 6, dtype=torch.bool)
    z = stream.normal(N, 2)
    one = shaped(
        TaskStream(4, 0, range(B)), y, present, z, torch.eye(6, dtype=torch.bool)[:1].expand(B, -1)
    )
    both = torch.tensor([True, True, False, False, False, False]).expand(B, -1)
    two = shaped(TaskStream(4, 0, range(B)), y, present, z, both)
    same = torch.stack([((one == two).all(-1) | (y != k)).all(-1) for k in range(6)], -1)
    assert not same.all(-1).all()


def test_one_column_has_no_shapes() -> None:
    with pytest.raises(ValueError, match="z has 1 column"):
        drawn("rings", 2, 1)
