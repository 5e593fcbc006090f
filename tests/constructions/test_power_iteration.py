"""The explicit weights equal the power method, and stop doing so when any block is moved."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from statformer.constructions.power_iteration import (
    PowerTransformer,
    power_transformer,
    principal_layout,
)
from statformer.nn.attention import Attention
from statformer.nn.layout import TokenLayout
from statformer.nn.power_steps import Normalise
from statformer.nn.transformer import Block
from statformer.reference.power_iteration import (
    Eigenpairs,
    covariance,
    exact_eigenpairs,
    power_iteration,
)

TOLERANCE = 1e-10
DISTURBANCE = 1e-4
SIZES = [(1, 1, 4), (2, 1, 5), (3, 2, 8), (5, 3, 20), (8, 4, 40), (12, 2, 10)]  # d, k, n


def draw(seed: int, d: int, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The paper's instance, away from the origin, and k starts."""
    rng = np.random.default_rng([seed, d, k, n])
    L = rng.standard_normal((d, d)) + 0.1 * np.eye(d)
    return rng.standard_normal((n, d)) @ L.T + 1.0, rng.standard_normal((k, d))


def run(network: PowerTransformer, X: np.ndarray, starts: np.ndarray) -> Eigenpairs:
    with torch.no_grad():
        values, vectors = network(torch.from_numpy(X)[None], torch.from_numpy(starts)[None])
    return Eigenpairs(values[0].numpy(), vectors[0].numpy())


def gap(found: Eigenpairs, reference: Eigenpairs) -> float:
    """Largest difference in eigenvalues, relative to the first, and in vectors."""
    values = np.abs(found.values - reference.values).max() / reference.values[0]
    return max(float(values), float(np.abs(found.vectors - reference.vectors).max()))


# ---------------------------------------------------------------------------------------------
# Equality


@pytest.mark.parametrize("centred", [False, True], ids=["X'X", "covariance"])
@pytest.mark.parametrize("phi", ["relu", "linear"])
@pytest.mark.parametrize(("d", "k", "n"), SIZES)
def test_equals_the_power_method(d: int, k: int, n: int, phi: str, centred: bool) -> None:
    for n_steps, seed in product((1, 2, 15), range(3)):
        X, starts = draw(seed, d, k, n)
        network = power_transformer(d, k, n_steps, phi=phi, n_points=n if centred else None)
        reference = power_iteration(covariance(X, centre=centred), starts, n_steps)
        assert gap(run(network, X, starts), reference) < TOLERANCE


def test_converges_to_lapack() -> None:
    X, starts = draw(0, 5, 3, 20)
    found = run(power_transformer(5, 3, 300, n_points=20), X, starts)
    exact = exact_eigenpairs(covariance(X), 3)
    np.testing.assert_allclose(found.values, exact.values, rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors * exact.vectors, axis=1)), 1.0)


def test_tables_of_a_batch_do_not_see_each_other() -> None:
    drawn = [draw(seed, 4, 2, 9) for seed in range(3)]
    X, starts = (torch.from_numpy(np.stack(side)) for side in zip(*drawn, strict=True))
    network = power_transformer(4, 2, 6)
    with torch.no_grad():
        values, vectors = network(X, starts)
    for t, (x, start) in enumerate(drawn):
        alone = run(network, x, start)
        assert gap(Eigenpairs(values[t].numpy(), vectors[t].numpy()), alone) < TOLERANCE


def test_rows_of_zeros_do_not_count() -> None:
    X, starts = draw(0, 4, 2, 9)
    network = power_transformer(4, 2, 6)
    padded = np.vstack([X, np.zeros((5, 4))])
    assert gap(run(network, padded, starts), run(network, X, starts)) < TOLERANCE


# ---------------------------------------------------------------------------------------------
# Every nonzero block of every matrix is needed


def entries(layout: TokenLayout, block: Block) -> dict[str, tuple[torch.Tensor, int, int, int]]:
    """Name -> (matrix, head, row, column) of one entry of each block that is not zero."""
    assert isinstance(block.attention, Attention)
    assert isinstance(block.within, Normalise)
    rows = Normalise.rows(layout.widths["product"])
    read = TokenLayout({"y": layout.widths["product"]})
    named = {}
    for name, weights, left, right in (
        ("W_QK", block.attention.W_QK, layout, layout),
        ("W_OV", block.attention.W_OV, layout, layout),
        ("W_read.within", block.within.W_read[None], layout, read),
        ("W_write.within", block.within.W_write[None], rows, layout),
        ("W_clear.within", block.within.W_clear[None], layout, layout),
    ):
        for head in range(len(weights)):
            for row, column in left.blocks(weights[head].detach().numpy(), right):
                at = left[row].start, right[column].start
                named[f"{name} {head} {row}->{column}"] = (weights.data, head, *at)
    return named


# Block 0 centres and fetches, 1 is a power step, 2 stores and fetches, 3 is 1 again, 4 stores.
DISTURBED = power_transformer(3, 2, 1, n_points=6)
NAMES = {
    (number, name)
    for number in (0, 1, 2, 4)
    for name in entries(DISTURBED.layout, DISTURBED.transformer.blocks[number])
}
IDLE = {
    # The last block's keys and its division are for a third component.
    *((4, name) for number, name in NAMES if number == 4 and ".within" in name),
    (4, "W_OV 0 root->key"),
    (4, "W_OV 0 root->value"),
    # A start of another length is the same start, and its length is written over.
    (0, "W_QK 0 is_working->component 0"),
    (2, "W_QK 1 is_working->component 1"),
    *(
        (number, f"W_write.within 0 {slot}->{slot}")
        for number in (0, 2)
        for slot in ("root", "length")
    ),
    # What is left of the old root and length is taken away by the next block.
    (2, "W_clear.within 0 root->root"),
    (2, "W_clear.within 0 length->length"),
    # These slots are still empty.
    *((0, f"W_clear.within 0 {slot}->{slot}") for slot in ("vector", "root", "length")),
    # Centred keys or centred values: either is enough.
    (0, "W_OV 1 key->key"),
    (0, "W_OV 1 value->value"),
}


def gap_when_disturbed(*names: tuple[int, str]) -> float:
    X, starts = draw(0, 3, 2, 6)
    network = power_transformer(3, 2, 1, n_points=6)
    reference = power_iteration(covariance(X), starts, 1)
    assert gap(run(network, X, starts), reference) < TOLERANCE
    for number, name in names:
        matrix, *at = entries(network.layout, network.transformer.blocks[number])[name]
        matrix[tuple(at)] += DISTURBANCE
    return gap(run(network, X, starts), reference)


@pytest.mark.parametrize(("number", "name"), sorted(NAMES - IDLE))
def test_disturbing_any_block_breaks_the_equality(number: int, name: str) -> None:
    assert gap_when_disturbed((number, name)) > 1e-9


@pytest.mark.parametrize(("number", "name"), sorted(IDLE))
def test_idle_blocks_are_idle(number: int, name: str) -> None:
    assert gap_when_disturbed((number, name)) < TOLERANCE


def test_centring_neither_keys_nor_values_breaks_the_equality() -> None:
    names = ("W_OV 1 key->key", "W_OV 1 value->value")
    assert gap_when_disturbed(*((0, name) for name in names)) > 1e-9


def test_half_a_relu_pair_is_not_enough() -> None:
    X, starts = draw(0, 3, 1, 6)
    network = power_transformer(3, 1, 3)
    for block in network.transformer.blocks:
        block.attention.W_OV.data[1:] = 0.0
    reference = power_iteration(covariance(X, centre=False), starts, 3)
    assert gap(run(network, X, starts), reference) > 1e-3


# ---------------------------------------------------------------------------------------------
# What the object says of itself


@pytest.mark.parametrize(("k", "n_steps"), [(1, 1), (1, 10), (3, 7)])
def test_depth_and_heads_are_counted_and_the_theorem_has_its_own(k: int, n_steps: int) -> None:
    network = power_transformer(4, k, n_steps)
    X, starts = draw(0, 4, k, 9)
    found = network.record(torch.from_numpy(X)[None], torch.from_numpy(starts)[None])
    patterns = [name for name in found if name.endswith(".pattern")]
    assert network.depth == len(patterns) == k * (n_steps + 1) + 1
    assert network.n_heads == max(found[name].shape[1] for name in patterns) == 2
    assert network.theorem_depth == 2 * n_steps + 4 * k + 1
    assert power_transformer(4, 1, n_steps, phi="linear").n_heads == 1
    operations = network.transformer.non_attention_operations
    assert operations == ("square", "square root", "division")


def test_record_shows_what_the_working_token_looks_at() -> None:
    X, starts = draw(0, 3, 2, 6)
    network = power_transformer(3, 2, 2)
    found = network.record(torch.from_numpy(X)[None], torch.from_numpy(starts)[None])
    v = starts[0] / np.linalg.norm(starts[0])
    pattern = found["block 2.pattern"][0].detach().numpy()
    np.testing.assert_allclose(pattern[0, -1, :6] - pattern[1, -1, :6], X @ v, atol=1e-12)
    assert not pattern[:, :-1].any()  # nobody else asks


def test_the_page_of_the_layout_is_the_layout() -> None:
    d, k = 5, 3
    assert principal_layout(d, k).width == 7 * d + k + 5
    written = [
        line.split("|")[1].strip()
        for line in principal_layout.__doc__.splitlines()
        if line.strip().startswith("|")
    ][2:]
    slots = [slot for slot in principal_layout(d, 1) if not slot.startswith("component")]
    assert written == [*slots, "component l"]


def test_errors_name_the_remedy() -> None:
    for match, arguments in {
        "n_components=4": (3, 4, 1),
        "n_components=0": (3, 0, 1),
        "n_steps=0": (3, 1, 0),
    }.items():
        with pytest.raises(ValueError, match=match):
            power_transformer(*arguments)
    with pytest.raises(ValueError, match="phi='softmax' is unknown"):
        power_transformer(3, 1, 1, phi="softmax")
    with pytest.raises(ValueError, match="n_points=1"):
        power_transformer(3, 1, 1, n_points=1)
    with pytest.raises(ValueError, match="written for 3 columns and 1 starts"):
        run(power_transformer(3, 1, 1), np.ones((4, 2)), np.ones((1, 2)))
