"""Attention against sums written out in loops; masks, multiplicities, errors, factors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from statformer.nn import attention
from statformer.nn.attention import Attention, FactoredAttention
from statformer.nn.layout import TokenLayout
from statformer.nn.read_write import LOG_ZERO, MLP, ReadWrite

PHIS = [attention.softmax, attention.linear, attention.relu, attention.hardmax]
B, H, Q, K, M = 2, 3, 4, 5, 6


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(phi: attention.Phi) -> Attention:
    return Attention(normal(1, H, M, M), normal(2, H, M, M), phi)


def queries_and_keys() -> tuple[Tensor, Tensor]:
    return normal(3, B, Q, M), normal(4, B, K, M)


def weights_of(phi: attention.Phi, scores: np.ndarray) -> np.ndarray:
    """One row of the pattern, as the textbook writes it."""
    if phi is attention.softmax:
        return np.exp(scores) / np.exp(scores).sum()
    if phi is attention.hardmax:
        return np.eye(len(scores))[scores.argmax()]
    return scores if phi is attention.linear else np.maximum(scores, 0.0)


@pytest.mark.parametrize("phi", PHIS)
def test_forward_equals_the_sum_in_loops(phi: attention.Phi) -> None:
    module = layer(phi)
    queries, keys = queries_and_keys()
    keep = torch.ones(B, 1, K, dtype=torch.bool)
    keep[0, 0, 1] = keep[1, 0, 3:] = False
    found = module(queries, keys, keep).detach().numpy()
    W_QK, W_OV = module.W_QK.detach().numpy(), module.W_OV.detach().numpy()
    for b in range(B):
        kept = keys[b].numpy()[keep[b, 0].numpy()]
        for q in range(Q):
            total = np.zeros(M)
            for h in range(H):
                scores = np.array([queries[b, q].numpy() @ W_QK[h] @ key for key in kept])
                for weight, key in zip(weights_of(phi, scores), kept, strict=True):
                    total += weight * (key @ W_OV[h])
            np.testing.assert_allclose(found[b, q], total, atol=1e-12)


@pytest.mark.parametrize("phi", PHIS)
def test_a_key_that_is_not_kept_is_absent(phi: attention.Phi) -> None:
    module = layer(phi)
    queries, keys = queries_and_keys()
    keep = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64).expand(B, 1, K)
    torch.testing.assert_close(
        module(queries, keys, keep), module(queries, keys[:, :3], keep[..., :3])
    )
    loud = keys.clone()
    loud[:, 3:] = 1e3
    torch.testing.assert_close(module(queries, loud, keep), module(queries, keys, keep))


@pytest.mark.parametrize("phi", PHIS)
def test_a_key_of_weight_two_is_two_keys(phi: attention.Phi) -> None:
    module = layer(phi)
    queries, keys = queries_and_keys()
    twice = torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0], dtype=torch.float64).expand(B, 1, K)
    once = torch.ones(B, 1, K + 1, dtype=torch.float64)
    doubled = torch.cat([keys, keys[:, 1:2]], dim=1)
    torch.testing.assert_close(module(queries, keys, twice), module(queries, doubled, once))


@pytest.mark.parametrize("phi", [attention.softmax, attention.hardmax])
def test_a_row_without_keys_is_an_error(phi: attention.Phi) -> None:
    queries, keys = queries_and_keys()
    keep = torch.ones(B, 1, K, dtype=torch.bool)
    keep[1] = False
    with pytest.raises(ValueError, match=r"without any kept key \(tables \[1\]\)"):
        layer(phi)(queries, keys, keep)


def test_sums_over_no_keys_are_zero() -> None:
    queries, keys = queries_and_keys()
    keep = torch.zeros(B, 1, K, dtype=torch.bool)
    for phi in (attention.linear, attention.relu):
        assert not layer(phi)(queries, keys, keep).any()


def test_softmax_stays_finite_at_large_scores() -> None:
    scores = torch.tensor([[[[1e4, 1e4 - 1.0, -1e30]]]], dtype=torch.float64)
    pattern = attention.softmax(scores, torch.ones(1, 1, 1, 3, dtype=torch.float64))
    expected = torch.tensor([1.0, np.exp(-1.0), 0.0], dtype=torch.float64)
    torch.testing.assert_close(pattern[0, 0, 0], expected / expected.sum())


def test_hardmax_shares_ties() -> None:
    scores = torch.tensor([[[[2.0, 2.0, 1.0, 2.0]]]])
    keep = torch.tensor([[[[1.0, 3.0, 1.0, 0.0]]]])
    assert attention.hardmax(scores, keep).tolist() == [[[[0.25, 0.75, 0.0, 0.0]]]]


@pytest.mark.parametrize("phi", PHIS)
def test_factored_equals_merged(phi: attention.Phi) -> None:
    factored = FactoredAttention(
        normal(1, H, M, 2), normal(2, H, M, 2), normal(3, H, M, 2), normal(4, H, 2, M), phi
    )
    merged = factored.merged()
    queries, keys = queries_and_keys()
    keep = torch.ones(B, 1, K)
    torch.testing.assert_close(
        merged.pattern(queries, keys, keep), factored.pattern(queries, keys, keep)
    )
    torch.testing.assert_close(merged(queries, keys, keep), factored(queries, keys, keep))
    assert torch.linalg.matrix_rank(merged.W_QK).tolist() == [2] * H


def test_noise_gives_scores_of_unit_variance_and_obeys_its_generator() -> None:
    def draw(seed: int) -> FactoredAttention:
        return FactoredAttention.from_noise(64, 4, 16, torch.Generator().manual_seed(seed))

    tokens = torch.randn(8, 50, 64, generator=torch.Generator().manual_seed(0))
    spread = draw(0).scores(tokens, tokens).std().item()
    assert 0.8 < spread < 1.25
    assert torch.equal(draw(1).W_O, draw(1).W_O)
    assert not torch.equal(draw(1).W_O, draw(2).W_O)


def test_gradients_reach_every_matrix_and_are_finite_beside_masked_keys() -> None:
    module = FactoredAttention.from_noise(M, 2, 3, torch.Generator().manual_seed(0))
    queries, keys = (x.float() for x in queries_and_keys())
    keep = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0]).expand(B, 1, K)
    module(queries, keys, keep).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


# ---------------------------------------------------------------------------------------------
# Layout and steps within a token


def test_layout_writes_and_reads_blocks_by_name() -> None:
    layout = TokenLayout({"payload": 2, "bias": 1, "identity": 3})
    assert layout.width == 6
    assert layout["identity"] == slice(3, 6)
    matrix = layout.matrix({("payload", "payload"): 2.0, ("payload", "bias"): -1.0})
    np.testing.assert_array_equal(matrix[:2, :3], [[2.0, 0.0, -1.0], [0.0, 2.0, -1.0]])
    assert not matrix[2:].any()
    assert set(layout.blocks(matrix)) == {("payload", "payload"), ("payload", "bias")}
    with pytest.raises(ValueError, match=r"\('payload', 'identity'\) has shape \(2, 3\)"):
        layout.matrix({("payload", "identity"): 1.0})
    with pytest.raises(KeyError, match="no slot 'mean'; the slots are payload, bias, identity"):
        layout["mean"]
    with pytest.raises(ValueError, match="'payload' has width -1"):
        TokenLayout({"payload": -1})


def test_read_write_computes_its_named_functions() -> None:
    layout = TokenLayout({"x": 2, "n": 1, "y": 2, "out": 1})
    H = torch.tensor([[[3.0, -1.0, 2.0, 5.0, 7.0, 4.0], [3.0, -1.0, 0.0, 5.0, 7.0, 4.0]]])
    H = H.double()

    def run(writes: dict[tuple[str, str], float], slot: str) -> list[list[float]]:
        return ReadWrite(layout, writes)(H)[0, :, layout[slot]].tolist()

    assert run({("square(x)", "out"): -0.5}, "out") == [[-5.0], [-5.0]]
    assert run({("ratio(x, n, y)", "y"): 1.0}, "y") == [[1.5, -0.5], [5.0, 7.0]]
    assert run({("if_owned(x, n, y)", "y"): 1.0}, "y") == [[3.0, -1.0], [5.0, 7.0]]
    assert run({("excess(x, n)", "x"): 1.0}, "x") == [[1.0, 0.0], [3.0, 0.0]]
    assert run({("copy(out)", "out"): -1.0}, "out") == [[-4.0], [-4.0]]
    logs = run({("log(n)", "out"): 1.0, ("copy(out)", "out"): 2.0}, "out")
    assert logs == [[np.log(2.0) + 8.0], [LOG_ZERO + 8.0]]


def test_read_write_lists_its_operations() -> None:
    layout = TokenLayout({"x": 2, "n": 1})
    step = ReadWrite(layout, {("log(n)", "n"): 1.0, ("square(x)", "n"): 1.0, ("copy(n)", "n"): 1.0})
    assert step.operations == ("log", "square")
    with pytest.raises(ValueError, match=r"cannot read 'cube\(x\)'"):
        ReadWrite(layout, {("cube(x)", "n"): 1.0})


def test_mlp_follows_its_formula() -> None:
    module = MLP(M, 7, torch.Generator().manual_seed(0))
    H = normal(0, B, Q, M).float()
    hidden = H @ module.W_in + module.b_in
    gelu = hidden * 0.5 * (1.0 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(module(H), gelu @ module.W_out + module.b_out)
