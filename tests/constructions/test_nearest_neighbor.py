"""The explicit layer is one nearest neighbour within its bound, and no longer when disturbed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from statformer.constructions.nearest_neighbor import (
    attention_error,
    label_error,
    nearest_neighbor_transformer,
    self_suppression,
    temperature,
)
from statformer.nn.neighbor import NeighborTransformer
from statformer.reference.nearest_neighbor import nearest_index, nearest_labels

SIZES = [(2, 1), (2, 5), (4, 4), (8, 16), (20, 60)]  # d, n


class Prompts:
    """Points of the sphere with labels in [-R, R], and the margin and similarity of each query."""

    def __init__(self, d: int, n: int, least_margin: float = 0.0, b: int = 300) -> None:
        rng = np.random.default_rng([d, n])
        X, query = rng.normal(size=(b, n, d)), rng.normal(size=(b, d))
        X /= np.linalg.norm(X, axis=2, keepdims=True)
        query /= np.linalg.norm(query, axis=1, keepdims=True)
        distance = np.sort(((X - query[:, None]) ** 2).sum(axis=2), axis=1)
        margin = distance[:, 1] - distance[:, 0] if n > 1 else np.full(b, 4.0)
        kept = margin >= least_margin
        assert kept.sum() >= 20
        self.X, self.query, self.margin = X[kept], query[kept], margin[kept]
        self.similarity = 1.0 - 0.5 * distance[kept, 0]
        self.y = rng.uniform(-1.0, 1.0, size=(kept.sum(), n, 1))
        rows = zip(self.X, self.y, self.query, strict=True)
        self.target = np.stack([nearest_labels(x, y, q[None])[0, 0] for x, y, q in rows])

    def answers(self, network: NeighborTransformer) -> np.ndarray:
        with torch.no_grad():
            found = network(*(torch.from_numpy(p) for p in (self.X, self.y, self.query)))
        return found[:, 0].numpy()

    def missed(self, network: NeighborTransformer) -> np.ndarray:
        """1 - a_i*."""
        with torch.no_grad():
            a = network.pattern(*(torch.from_numpy(p) for p in (self.X, self.y, self.query)))
        rows = zip(self.X, self.query, strict=True)
        nearest = [nearest_index(x, q[None])[0] for x, q in rows]
        return 1.0 - a.numpy()[np.arange(len(nearest)), nearest]


@pytest.mark.parametrize("xi", [(0.0, 3.0), (5.0, 10.0), (40.0, 85.0), (40.0, 20.0)])
@pytest.mark.parametrize(("d", "n"), SIZES)
def test_the_bound_holds_prompt_by_prompt(d: int, n: int, xi: tuple[float, float]) -> None:
    prompts = Prompts(d, n)
    network = NeighborTransformer.from_family(d, *xi)
    places = list(zip(prompts.margin, prompts.similarity, strict=True))
    bound = np.array([attention_error(*xi, margin, n, s) for margin, s in places])
    assert (prompts.missed(network) <= bound + 1e-12).all()
    off = np.abs(prompts.answers(network) - prompts.target)
    assert (off <= np.array([label_error(*xi, m, n, s) for m, s in places]) + 1e-12).all()


@pytest.mark.parametrize("error", [0.1, 1e-6])
@pytest.mark.parametrize(("d", "n"), SIZES)
def test_margin_and_error_give_the_weights(d: int, n: int, error: float) -> None:
    margin = 0.05
    prompts = Prompts(d, n, margin)
    network = nearest_neighbor_transformer(d, n, margin, error)
    assert prompts.missed(network).max() <= error
    assert np.abs(prompts.answers(network) - prompts.target).max() <= 2.0 * error


def test_the_bound_is_not_idle() -> None:
    """Half the temperature, or half the suppression, breaks the promise somewhere."""
    prompts, error = Prompts(8, 16, 0.05), 1e-6
    xi_1 = temperature(0.05, 16, error)
    xi_2 = self_suppression(xi_1, error)
    for changed in ((0.5 * xi_1, xi_2), (xi_1, 0.0)):
        assert prompts.missed(NeighborTransformer.from_family(8, *changed)).max() > error


# ---------------------------------------------------------------------------------------------
# Disturbed weights


def disturbed(row: str, column: str, by: float) -> float:
    """Largest error of the answers when one block of W_QK is moved."""
    prompts = Prompts(4, 6, 0.2)
    network = nearest_neighbor_transformer(4, 6, 0.2, 1e-9)
    assert np.abs(prompts.answers(network) - prompts.target).max() < 2e-9
    layout = network.layout
    network.attention.W_QK.data[0, layout[row], layout[column]] += by
    return float(np.abs(prompts.answers(network) - prompts.target).max())


@pytest.mark.parametrize(
    ("row", "column", "by"),
    [
        ("point", "point", 60.0),  # all entries: other inner products
        ("flag", "flag", 800.0),  # the query is its own best match
        ("point", "label", 300.0),  # labels are mistaken for nearness
        ("point", "flag", 800.0),
        ("flag", "label", 300.0),
        ("flag", "point", 300.0),
    ],
)
def test_disturbing_a_block_that_the_query_reads_breaks_it(
    row: str, column: str, by: float
) -> None:
    assert disturbed(row, column, by) > 1e-3


@pytest.mark.parametrize("column", ["point", "label", "flag"])
def test_the_query_has_no_label_to_ask_with(column: str) -> None:
    assert disturbed("label", column, 300.0) < 2e-9


def test_without_the_flag_the_answer_shrinks_to_nothing() -> None:
    prompts = Prompts(8, 16, 0.05)
    network = nearest_neighbor_transformer(8, 16, 0.05, 1e-6)
    flag = network.layout["flag"]
    network.attention.W_QK.data[0, flag, flag] = 0.0
    far = prompts.similarity < 0.9
    assert far.sum() > 20
    assert np.abs(prompts.answers(network)[far]).max() < 1e-6
    assert np.abs(prompts.target[far]).mean() > 0.3


def test_a_disturbed_value_matrix_breaks_it() -> None:
    prompts = Prompts(4, 6, 0.2)
    network = nearest_neighbor_transformer(4, 6, 0.2, 1e-9)
    network.attention.W_OV.data[0, network.layout["label"], network.layout["label"]] += 1e-4
    assert np.abs(prompts.answers(network) - prompts.target).max() > 1e-5


# ---------------------------------------------------------------------------------------------
# The rules


def test_rules_are_the_formulas() -> None:
    assert temperature(0.5, 11, 0.01) == pytest.approx(4.0 * math.log(2000.0))
    assert temperature(0.5, 1, 0.01) == 0.0
    assert temperature(0.5, 2, 0.999) == pytest.approx(4.0 * math.log(2.0 / 0.999))
    assert self_suppression(10.0, 0.01) == pytest.approx(20.0 + math.log(200.0))
    assert self_suppression(10.0, 0.01, 1.0) == pytest.approx(math.log(200.0))
    xi_1 = temperature(0.5, 11, 0.01)
    xi_2 = self_suppression(xi_1, 0.01, 0.3)
    assert attention_error(xi_1, xi_2, 0.5, 11, 0.3) == pytest.approx(0.01)
    assert attention_error(1.0, -1.0, 0.5, 11, 0.3) == 1.0
    assert label_error(xi_1, xi_2, 0.5, 11, 0.3, largest_label=7.0) == pytest.approx(0.14)


def test_ties_share() -> None:
    X = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]], dtype=torch.float64)
    y = torch.tensor([[[2.0], [4.0], [9.0]]], dtype=torch.float64)
    query = torch.tensor([[0.5**0.5, 0.5**0.5]], dtype=torch.float64)
    network = nearest_neighbor_transformer(2, 3, 0.5, 1e-6)
    assert network(X, y, query).item() == pytest.approx(3.0, abs=1e-5)
    assert nearest_labels(X[0].numpy(), y[0].numpy(), query.numpy()).tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("margin=0.0", (3, 4, 0.0, 0.1)),
        ("error=1.0", (3, 4, 0.1, 1.0)),
        ("error=0", (3, 4, 0.1, 0)),
        ("n_context=0", (3, 0, 0.1, 0.1)),
    ],
)
def test_errors_name_the_remedy(match: str, arguments: tuple) -> None:
    with pytest.raises(ValueError, match=match):
        nearest_neighbor_transformer(*arguments)
    with pytest.raises(ValueError, match=r"least_similarity=2\.0"):
        self_suppression(1.0, 0.1, 2.0)
