"""`PrincipalNetwork` with learned weights: one answer on numpy and torch, symmetries, units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from principal_networks import N_LAYERS, as_network, gap, learned, low_rank_tables, some_observed
from statformer.nn.principal import FORMS, Form, PrincipalNetwork, PrincipalTrace
from statformer.nn.principal_features import ROW_DISTANCES
from statformer.nn.principal_heads import row_logits
from statformer.nn.principal_module import adopt_row_head

K = 2


def arrays(trace: PrincipalTrace) -> dict[str, np.ndarray]:
    """The numbers of a trace that have one value; components as projectors."""
    V = np.asarray(trace.components)
    found = {
        "mean": trace.mean,
        "projector": np.swapaxes(V, 1, 2) @ V,
        "variances": trace.variances,
        "noise": trace.noise_variance,
        "rows": trace.row_weights,
        "completed": trace.completed,
        "cells": 0.0 if trace.cell_weights is None else trace.cell_weights,
    }
    return {name: np.asarray(value) for name, value in found.items()}


def assert_same(found: PrincipalTrace, expected: PrincipalTrace, atol: float = 1e-8) -> None:
    left, right = arrays(found), arrays(expected)
    for name, value in right.items():
        np.testing.assert_allclose(left[name], value, rtol=1e-7, atol=atol, err_msg=name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_numpy_and_torch_agree(form: Form, share: float) -> None:
    X = low_rank_tables(0)
    observed = some_observed(0, X.shape, share) if share else None
    module = learned(form)
    by_numpy = as_network(module)(X, K, observed=observed, record="all", polish=False)
    mask = None if observed is None else torch.from_numpy(observed)
    with torch.no_grad():
        by_torch = module(torch.from_numpy(X), K, mask)
    assert len(by_numpy.subspaces) == len(by_numpy.layer_weights) == N_LAYERS
    for V, W in zip(by_numpy.subspaces, by_torch.subspaces, strict=True):
        assert gap(V, W.numpy()) < 1e-10
    for left, right in zip(by_numpy.layer_weights, by_torch.layer_weights, strict=True):
        np.testing.assert_allclose(left, right.numpy(), rtol=0, atol=1e-10)
    for name, value in arrays(by_torch).items():
        np.testing.assert_allclose(
            arrays(by_numpy)[name], value, rtol=1e-10, atol=1e-10, err_msg=name
        )


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_matters(form: Form) -> None:
    """So that a test of learned weights is not one of plain PCA."""
    X = low_rank_tables(1)
    observed = some_observed(1, X.shape)
    network = as_network(learned(form))
    plain = network(X, K, observed=observed, polish=False)
    rng = np.random.default_rng(0)
    for name, value in network.weights.items():
        moved = network.weights | {name: value + 0.3 * rng.standard_normal(value.shape)}
        other = PrincipalNetwork(moved, form)(X, K, observed=observed, polish=False)
        assert gap(other.components, plain.components) > 1e-6, name


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_every_weight(form: Form) -> None:
    X = low_rank_tables(2)
    observed = torch.from_numpy(some_observed(2, X.shape))
    module = learned(form)
    module.zero_grad()
    subspaces = module(torch.from_numpy(X), K, observed).subspaces
    sum((V[:, :, 0] ** 2).sum() for V in subspaces).backward()
    for name, parameter in module.layers.items():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool((parameter.grad.reshape(N_LAYERS, -1).abs().amax(1) > 0).all()), name


def rotation(d: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def test_rows_turn_with_the_table() -> None:
    """Form "rows" on complete tables: a rotation of the columns changes no weight."""
    X = low_rank_tables(3)
    Q = rotation(X.shape[2])
    network = as_network(learned("rows"))
    plain, turned = network(X, K), network(X @ Q, K)
    np.testing.assert_allclose(turned.row_weights, plain.row_weights, rtol=0, atol=1e-10)
    assert gap(turned.components, plain.components @ Q) < 1e-10
    np.testing.assert_allclose(turned.mean, plain.mean @ Q, rtol=0, atol=1e-10)
    # cells are not rotated: the check sees it where the symmetry is broken
    cells = as_network(learned("cells"))
    assert gap(cells(X @ Q, K).components, cells(X, K).components @ Q) > 1e-3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_order_and_signs_of_columns_and_order_of_rows(form: Form, share: float) -> None:
    X = low_rank_tables(4)
    observed = some_observed(4, X.shape, share) if share else None
    network = as_network(learned(form))
    plain = network(X, K, observed=observed)
    rng = np.random.default_rng(4)
    columns, signs = rng.permutation(X.shape[2]), rng.choice([-1.0, 1.0], X.shape[2])
    rows = rng.permutation(X.shape[1])
    # lower medians look at the order: a median of an even number of values is not flipped
    odd = X[:, 1:] if share == 0.0 else X
    mask = None if observed is None else observed[:, rows][:, :, columns]
    changed = network(X[:, rows][:, :, columns], K, observed=mask)
    np.testing.assert_allclose(changed.row_weights, plain.row_weights[:, rows], atol=1e-8)
    assert gap(changed.components, plain.components[:, :, columns]) < 1e-6
    if share == 0.0:
        plain, flipped = network(odd, K), network(odd * signs, K)
        np.testing.assert_allclose(flipped.row_weights, plain.row_weights, atol=1e-8)
        assert gap(flipped.components, plain.components * signs) < 1e-6


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1e-100, 1e-3, 1e100])
def test_units_and_shifts(form: Form, scale: float) -> None:
    X = low_rank_tables(5)
    network = as_network(learned(form))
    plain, scaled = network(X, K), network(X * scale, K)
    assert gap(scaled.components, plain.components) < 1e-7
    np.testing.assert_allclose(scaled.row_weights, plain.row_weights, atol=1e-8)
    np.testing.assert_allclose(scaled.variances, plain.variances * scale**2, rtol=1e-6)
    shifted = network(X + 100.0, K)
    assert gap(shifted.components, plain.components) < 1e-7
    np.testing.assert_allclose(shifted.mean, plain.mean + 100.0, rtol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_weight_two_is_the_row_twice(form: Form, share: float) -> None:
    X = low_rank_tables(6)
    observed = some_observed(6, X.shape, share) if share else None
    weight = np.random.default_rng(6).integers(1, 4, X.shape[:2]).astype(np.float64)
    weight[1] = weight[0]  # tables of one shape
    index = np.repeat(np.arange(X.shape[1]), weight[0].astype(int))
    network = as_network(learned(form))
    weighted = network(X, K, observed=observed, row_weight=weight)
    mask = None if observed is None else observed[:, index]
    repeated = network(X[:, index], K, observed=mask)
    np.testing.assert_allclose(repeated.row_weights, weighted.row_weights[:, index], atol=1e-8)
    assert gap(repeated.components, weighted.components) < 1e-6
    assert gap(network(X, K, observed=observed).components, weighted.components) > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_is_its_tables_one_by_one(form: Form) -> None:
    X = low_rank_tables(7, b=3)
    observed = some_observed(7, X.shape)
    network = as_network(learned(form))
    whole = network(X, K, observed=observed, polish=False)
    for i in range(len(X)):
        alone = network(X[i : i + 1], K, observed=observed[i : i + 1], polish=False)
        assert gap(alone.components, whole.components[i : i + 1]) < 1e-9
        np.testing.assert_allclose(alone.row_weights, whole.row_weights[i : i + 1], atol=1e-9)


def test_rows_are_weighed_alone_as_in_the_table() -> None:
    X = low_rank_tables(8)
    network = as_network(learned("rows"))
    trace = network(X, K)
    weights, cells, completed = network.weigh(X, trace.summary)
    assert cells is None
    np.testing.assert_allclose(weights, trace.row_weights, rtol=0, atol=1e-12)
    np.testing.assert_allclose(completed, X, atol=1e-10)
    some, _, _ = network.weigh(X[:, 5:9], trace.summary)
    np.testing.assert_allclose(some, weights[:, 5:9], rtol=0, atol=1e-12)


def test_cells_are_weighed_alone_nearly_as_in_the_table() -> None:
    """Form "cells" looks a few times with the last layer: the same cells, nearly the weights."""
    X = low_rank_tables(9, outliers=0)
    X[:, 3, 2] += 60.0
    observed = some_observed(9, X.shape)
    observed[:, 3, 2] = True
    network = as_network(learned("cells"))
    trace = network(X, K, observed=observed)
    weights, cells, completed = network.weigh(X, trace.summary, observed=observed)
    assert np.corrcoef(weights.ravel(), trace.row_weights.ravel())[0, 1] > 0.9
    assert np.corrcoef(cells.ravel(), trace.cell_weights.ravel())[0, 1] > 0.9
    assert np.isfinite(completed).all()
    assert not cells[~observed].any()
    alone, alone_cells, _ = network.weigh(X[:, 5:6], trace.summary, observed=observed[:, 5:6])
    np.testing.assert_allclose(alone, weights[:, 5:6], atol=1e-12)
    np.testing.assert_allclose(alone_cells, cells[:, 5:6], atol=1e-12)


def constant(X: np.ndarray) -> np.ndarray:
    return np.zeros_like(X) + 3.0


def one_column(X: np.ndarray) -> np.ndarray:
    return np.concatenate([X[..., :1], np.ones_like(X[..., 1:])], axis=-1)


def duplicates(X: np.ndarray) -> np.ndarray:
    return np.repeat(X[:, :3], X.shape[1] // 3, axis=1)


def no_noise(X: np.ndarray) -> np.ndarray:
    return X[..., :K] @ np.random.default_rng(0).normal(size=(K, X.shape[-1]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", [constant, one_column, duplicates, no_noise])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_degenerate_tables_have_finite_answers(
    form: Form, change: Callable[[np.ndarray], np.ndarray], share: float
) -> None:
    X = change(low_rank_tables(10))
    observed = some_observed(10, X.shape, share) if share else None
    trace = as_network(learned(form))(X, K, observed=observed)
    for name, value in arrays(trace).items():
        assert np.isfinite(value).all(), name
    V = trace.components
    np.testing.assert_allclose(V @ np.swapaxes(V, 1, 2), np.stack([np.eye(K)] * 2), atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n", "d", "k"), [(5, 9, 4), (12, 3, 3), (40, 1, 1), (3, 2, 1)])
def test_small_and_wide_tables(form: Form, n: int, d: int, k: int) -> None:
    X = np.random.default_rng(0).normal(size=(1, n, d))
    trace = as_network(learned(form))(X, k)
    assert trace.components.shape == (1, k, d)
    for name, value in arrays(trace).items():
        assert np.isfinite(value).all(), name


def test_foreign_weights_and_forms_are_refused() -> None:
    weights = as_network(learned("rows")).weights
    with pytest.raises(ValueError, match="form='columns' is unknown"):
        PrincipalNetwork(weights, "columns")
    with pytest.raises(ValueError, match="cell_b_out"):
        PrincipalNetwork(weights, "cells")


def test_cells_that_adopt_a_row_head_weigh_rows_as_it_does() -> None:
    """On features of the distances that both forms know, whatever the others say."""
    rows, cells = learned("rows"), learned("cells")
    adopt_row_head(cells, dict(rows.layers.items()))
    known, many = len(ROW_DISTANCES["rows"]), len(ROW_DISTANCES["cells"])
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(2, 9, 2 * many, generator=generator, dtype=torch.float64)
    context = torch.randn(2, 3 * many + 6, generator=generator, dtype=torch.float64)
    share = torch.full((2, 9), 1.0 / 9.0, dtype=torch.float64)
    of_row = torch.randn(2, 9, 16, generator=generator, dtype=torch.float64)
    kept = [i for i in range(2 * many) if i % many < known]
    kept_context = [i for i in range(3 * many) if i % many < known] + list(
        range(3 * many, 3 * many + 6)
    )
    for layer in range(N_LAYERS):
        of_rows = {name: value[layer] for name, value in rows.layers.items()}
        of_cells = {name: value[layer] for name, value in cells.layers.items()}
        expected, _ = row_logits(of_rows, f[..., kept], context[:, kept_context], None, share)
        found, _ = row_logits(of_cells, f, context, of_row, share)
        torch.testing.assert_close(found, expected)
