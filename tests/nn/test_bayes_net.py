"""The two layers over a context shared by many queries equal one full prompt per query."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.nn.bayes_net import NAMES, PromptTransformer

M, F = 5, 4


def draw(seed: int, n_layers: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Weights without any structure, a context, and queries that layer 1 cannot tell apart."""
    rng = np.random.default_rng(seed)
    shapes = {"W_QK": (M, M), "W_OV": (M, M), "W_in": (M, F), "W_out": (F, M)}
    weights = {
        name: 0.4 * rng.standard_normal((n_layers, *shape)) for name, shape in shapes.items()
    }
    if n_layers == 2:  # the first column of a query is not heard by layer 1
        weights["W_QK"][0, :, 0] = weights["W_OV"][0, 0] = 0.0
    queries = np.repeat(rng.standard_normal((1, M)), 3, axis=0)
    queries[:, 0] = rng.standard_normal(3)
    return weights, rng.standard_normal((6, M)), queries


def prompt(weights: dict[str, np.ndarray], context: np.ndarray, query: np.ndarray) -> np.ndarray:
    """All tokens to all tokens, literally; the query comes last."""
    H = np.vstack([context, query])
    for W_QK, W_OV, W_in, W_out in zip(*(weights[name] for name in NAMES), strict=True):
        scores = np.exp(H @ W_QK @ H.T)
        H = H + scores / scores.sum(axis=1, keepdims=True) @ H @ W_OV
        H = H + np.maximum(H @ W_in, 0.0) @ W_out
    return H[-1]


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_equals_one_prompt_per_query(n_layers: int, uniform: bool) -> None:
    weights, context, queries = draw(0, n_layers)
    if uniform:
        weights["W_QK"][0] = 0.0
    found = PromptTransformer(weights)(context, queries)
    for query, answer in zip(queries, found, strict=True):
        np.testing.assert_allclose(answer, prompt(weights, context, query), rtol=1e-10)


def test_a_row_of_weight_two_is_two_rows() -> None:
    weights, context, queries = draw(1, 2)
    network = PromptTransformer(weights)
    twice = network(np.vstack([context, context[:2]]), queries)
    weighed = network(context, queries, np.array([2.0, 2, 1, 1, 1, 1]))
    np.testing.assert_allclose(weighed, twice, rtol=1e-10)


def test_torch_and_numpy_agree() -> None:
    weights, context, queries = draw(2, 2)
    by_torch = PromptTransformer({k: torch.from_numpy(v) for k, v in weights.items()})
    found = by_torch(torch.from_numpy(context), torch.from_numpy(queries))
    np.testing.assert_allclose(found.numpy(), PromptTransformer(weights)(context, queries))


def test_queries_that_layer_one_can_tell_apart_are_refused() -> None:
    weights, context, queries = draw(3, 2)
    weights["W_OV"][0, 0, 0] = 1.0
    network = PromptTransformer(weights)
    with pytest.raises(ValueError, match="one by one"):
        network(context, queries)
    answer = network(context, queries[:1])[0]
    np.testing.assert_allclose(answer, prompt(weights, context, queries[0]), rtol=1e-10)


def test_other_weights_are_refused() -> None:
    weights, *_ = draw(0, 2)
    with pytest.raises(ValueError, match="layers"):
        PromptTransformer({name: np.repeat(one, 2, axis=0) for name, one in weights.items()})
    del weights["W_in"]
    with pytest.raises(ValueError, match="W_in"):
        PromptTransformer(weights)
