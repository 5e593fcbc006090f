"""Blocks in a row: attention of all tokens to all tokens, then a step within each token.

Weights come from a theorem (`constructions/power_iteration.py`) or from training
(`nn/eigen_transformer.py`); the blocks do not know which.

Axes: b tables, t tokens, q and k tokens as queries and keys, h heads, m token width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from statformer.nn.attention import Attention, FactoredAttention
from statformer.nn.power_steps import Normalise, Sign
from statformer.nn.read_write import MLP, ReadWrite

Step = MLP | Normalise | ReadWrite | Sign


class Block(nn.Module):
    """H <- H + attention(norm H), then H <- H + within(norm H).

    Without `within` the second half is left out; without norms nothing is normalised.
    """

    def __init__(
        self,
        attention: Attention | FactoredAttention,
        within: Step | None = None,
        norms: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.attention, self.within = attention, within
        self.norms = None if norms is None else nn.ModuleList(norms)

    @property
    def n_heads(self) -> int:
        """Heads of the attention."""
        heads = self.attention
        return len(heads.W_QK if isinstance(heads, Attention) else heads.W_Q)

    @property
    def operations(self) -> tuple[str, ...]:
        """What this block does that is neither attention nor linear."""
        norm: tuple[str, ...] = () if self.norms is None else ("layer norm",)
        return norm + (() if self.within is None else self.within.operations)

    def forward(
        self,
        H: Float[Tensor, "b t m"],
        found: dict[str, Tensor] | None = None,
        name: str = "",
        keep: Float[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t m"]:
        """The next residual stream; with `found`, the pattern and both streams are put into it.

        `keep` says how often each token counts as a key (0: padding); without it all count once.
        """
        read = H if self.norms is None else self.norms[0](H)
        keep = H.new_ones(H.shape[:2]) if keep is None else keep
        pattern = self.attention.pattern(read, read, keep[:, None])
        H = H + self.attention.read(pattern, read)
        if found is not None:
            found[f"{name}.pattern"], found[f"{name}.attended"] = pattern, H
        if self.within is not None:
            H = H + self.within(H if self.norms is None else self.norms[1](H))
        if found is not None:
            found[name] = H
        return H


class Transformer(nn.Module):
    """H -> the residual stream after the last block."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self.blocks)

    @property
    def n_heads(self) -> int:
        """Heads of the block that has most."""
        return max(cast(Block, block).n_heads for block in self.blocks)

    @property
    def non_attention_operations(self) -> tuple[str, ...]:
        """What the blocks do that is neither attention nor linear, each named once."""
        names = [name for block in self.blocks for name in cast(Block, block).operations]
        return tuple(dict.fromkeys(names))

    def forward(
        self, H: Float[Tensor, "b t m"], keep: Float[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t m"]:
        for block in self.blocks:
            H = block(H, keep=keep)
        return H

    def record(self, H: Float[Tensor, "b t m"]) -> dict[str, Tensor]:
        """ "block 1.pattern" ("b h q k"), "block 1.attended", "block 1" (streams "b t m"), ..."""
        found: dict[str, Tensor] = {}
        for number, block in enumerate(self.blocks, start=1):
            H = block(H, found, f"block {number}")
        return found
