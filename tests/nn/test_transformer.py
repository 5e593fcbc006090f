"""Blocks in a row do what their formula says, and record what they did."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from statformer.nn import attention
from statformer.nn.attention import FactoredAttention
from statformer.nn.read_write import MLP
from statformer.nn.transformer import Block, Transformer


def block(rng: Generator, n_heads: int, *, norms: bool) -> Block:
    heads = FactoredAttention.from_noise(6, n_heads, 2, rng, attention.relu)
    pair = (nn.LayerNorm(6), nn.LayerNorm(6)) if norms else None
    return Block(heads, MLP(6, 8, rng), pair).double()


def by_hand(made: Block, H: Tensor) -> Tensor:
    """One table, one head after another."""
    first, second = made.norms or (nn.Identity(), nn.Identity())
    heads, read = made.attention, first(H)
    for W_Q, W_K, W_V, W_O in zip(heads.W_Q, heads.W_K, heads.W_V, heads.W_O, strict=True):
        H = H + torch.relu((read @ W_Q) @ (read @ W_K).T) @ read @ W_V @ W_O
    return H + made.within(second(H)[None])[0]


@pytest.mark.parametrize("norms", [False, True])
def test_a_row_of_blocks_is_the_formula(norms: bool) -> None:
    rng = Generator().manual_seed(0)
    made = Transformer([block(rng, 2, norms=norms), block(rng, 3, norms=norms)])
    H = torch.randn(4, 5, 6, generator=rng, dtype=torch.float64)
    expected = torch.stack([by_hand(made.blocks[1], by_hand(made.blocks[0], h)) for h in H])
    torch.testing.assert_close(made(H), expected, rtol=1e-12, atol=1e-12)
    assert (made.depth, made.n_heads) == (2, 3)
    assert made.non_attention_operations == (("layer norm",) if norms else ()) + ("gelu",)


def test_record_holds_every_pattern_and_stream() -> None:
    rng = Generator().manual_seed(1)
    made = Transformer([block(rng, 2, norms=True), block(rng, 3, norms=True)])
    H = torch.randn(4, 5, 6, generator=rng, dtype=torch.float64)
    found = made.record(H)
    assert list(found) == [
        f"block {number}{part}" for number in (1, 2) for part in (".pattern", ".attended", "")
    ]
    assert found["block 2.pattern"].shape == (4, 3, 5, 5)
    torch.testing.assert_close(found["block 2"], made(H))


def test_without_a_step_within_only_attention_is_added() -> None:
    rng = Generator().manual_seed(2)
    heads = FactoredAttention.from_noise(6, 1, 2, rng, attention.softmax).double()
    H = torch.randn(1, 5, 6, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(Block(heads)(H), H + heads(H, H, torch.ones(1, 1, 5).double()))
