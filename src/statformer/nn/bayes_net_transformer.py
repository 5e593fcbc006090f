"""The paper's trained network for Bayesian networks: context rows in, one conditional law out.

Rows are tokens, after Cao et al. (arXiv 2501.02547) and its public code: v one-hot blocks and a
one-hot of the variable to predict, of width v (d + 1). The query's blocks of the target and of all
later variables are 0. As in the newer public code, context rows hide the variables after the target
and bear its mark, too.

Decided here: no causal mask and no positions, so that the answer does not depend on the order of
the context rows. The public code keeps learned positions and switches its mask off on a best-effort
basis. Without positions equal rows stay equal in every layer, and a row seen k times is one token
that counts k times: n rows of d categories are at most d^(t + 1) tokens for target t. Ours, too:
initial weights, no dropout, and an answer made probabilities by softmax.

Axes: b tasks, n context rows, v variables, d categories, t tokens, m token width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from statformer.nn.attention import FactoredAttention, softmax
from statformer.nn.read_write import MLP
from statformer.nn.transformer import Block, Transformer


class BayesNetTransformer(nn.Module):
    """(context "b n v", query "b v", target) -> p(target = j | earlier variables of the query).

    H = tokens W_in + b_in;  blocks with softmax attention;  layer norm of the query's token h;
    softmax(h W_out + b_out). The last block is computed for the query's token alone.

    The structure is nowhere in the input: it is in the weights, or read from the context.
    """

    def __init__(
        self,
        n_variables: int,
        n_categories: int = 2,
        *,
        rng: Generator,
        n_layers: int = 2,
        width: int = 64,
        n_heads: int = 4,
    ) -> None:
        """Weights at random. Raises ValueError for a width that the heads do not divide."""
        super().__init__()
        if width % n_heads:
            raise ValueError(f"width={width} is no multiple of n_heads={n_heads}; change one")
        self.n_variables, self.n_categories = n_variables, n_categories
        gain = (2 * n_layers) ** -0.5  # so that depth does not blow up the stream

        def normal(rows: int, columns: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns, generator=rng) * scale)

        def block() -> Block:
            heads = FactoredAttention.from_noise(
                width, n_heads, width // n_heads, rng, softmax, gain
            )
            norms = nn.LayerNorm(width), nn.LayerNorm(width)
            return Block(heads, MLP(width, 4 * width, rng, gain), norms)

        n_inputs = n_variables * (n_categories + 1)
        self.W_in = normal(n_inputs, width, (n_variables + 1) ** -0.5)
        self.b_in = nn.Parameter(torch.zeros(width))
        self.transformer = Transformer([block() for _ in range(n_layers)])
        self.norm = nn.LayerNorm(width)
        self.W_out = normal(width, n_categories, width**-0.5)
        self.b_out = nn.Parameter(torch.zeros(n_categories))

    def forward(
        self, context: Int[Tensor, "b n v"], query: Int[Tensor, "b v"], target: int
    ) -> Float[Tensor, "b d"]:
        """One conditional law per task.

        Cells are numbers of categories from 0. Those of the target and later variables in the query
        and those of later variables in the context are not read.

        Raises ValueError for another number of variables, or a target that is none of them.
        """
        rows, times = self.tokens_of(context, target)
        return self.answer(self.embed(rows, query, target), times)

    def tokens_of(
        self, context: Int[Tensor, "b n v"], target: int
    ) -> tuple[Int[Tensor, "b t v"], Float[Tensor, "b t"]]:
        """The different rows of each context and how often each occurs; 0 times is padding.

        Variables after the target are 0. Raises ValueError as `forward`.
        """
        if context.shape[-1] != self.n_variables or not 0 <= target < self.n_variables:
            raise ValueError(
                f"context has {context.shape[-1]} variables and target={target}; this network "
                f"knows {self.n_variables} variables, numbered from 0"
            )
        places = self.n_categories ** torch.arange(self.n_variables, device=context.device)
        places[target + 1 :] = 0
        code = (context * places).sum(-1).sort(1).values
        is_new = torch.ones_like(code)
        is_new[:, 1:] = code[:, 1:] != code[:, :-1]
        kind = is_new.cumsum(1) - 1
        n_kinds = int(kind.max()) + 1
        times = torch.zeros(
            len(code), n_kinds, dtype=self.W_in.dtype, device=code.device
        ).scatter_add_(1, kind, torch.ones_like(code, dtype=self.W_in.dtype))
        codes = torch.zeros(len(code), n_kinds, dtype=code.dtype, device=code.device)
        codes.scatter_(1, kind, code)
        rows = codes[..., None] // places.clamp_min(1) % self.n_categories
        return rows * (places > 0), times

    def embed(
        self, rows: Int[Tensor, "b t v"], query: Int[Tensor, "b v"], target: int
    ) -> Float[Tensor, "b t_plus_1 m"]:
        """The stream before the first block, the query's token last."""
        mark = self.W_in[self.n_variables * self.n_categories + target] + self.b_in
        context = self._one_hot(rows, target + 1) + mark
        asked = self._one_hot(query[:, None], target) + mark
        return torch.cat([context, asked], dim=1)

    def answer(
        self,
        H: Float[Tensor, "b t_plus_1 m"],
        times: Float[Tensor, "b t"],
        found: dict[str, Tensor] | None = None,
    ) -> Float[Tensor, "b d"]:
        """The law read from the query's token; the query counts once beside the `times` of rows.

        With `found`, "block 1.pattern" ("b h q k") and "block 1" ("b t m") and so on are put in it.
        """
        keep = torch.cat([times, times.new_ones(len(times), 1)], dim=1)[:, None]
        for number, block in enumerate(self.transformer.blocks, start=1):
            assert isinstance(block, Block)
            asks = H if number < self.transformer.depth else H[:, -1:]
            H = _through(block, asks, H, keep, found, f"block {number}")
        logits = self.norm(H[:, -1]) @ self.W_out + self.b_out
        return torch.softmax(logits, dim=-1)

    def _one_hot(self, X: Int[Tensor, "b t v"], n_known: int) -> Float[Tensor, "b t m"]:
        """Sum of the rows of W_in that belong to the cells of the first `n_known` variables."""
        d = self.n_categories
        known = X[..., :n_known]
        one_hot = nn.functional.one_hot(known, d).to(self.W_in.dtype).flatten(-2)
        return one_hot @ self.W_in[: n_known * d]


def _through(
    block: Block,
    asks: Float[Tensor, "b q m"],
    H: Float[Tensor, "b t m"],
    keep: Float[Tensor, "b 1 t"],
    found: dict[str, Tensor] | None,
    name: str,
) -> Float[Tensor, "b q m"]:
    """The tokens `asks` one block on, which listen to all of H; key k counts `keep` times."""
    assert block.norms is not None
    assert block.within is not None
    reads, heard = block.norms[0](asks), block.norms[0](H)
    pattern = block.attention.pattern(reads, heard, keep)
    asks = asks + block.attention.read(pattern, heard)
    asks = asks + block.within(block.norms[1](asks))
    if found is not None:
        found[f"{name}.pattern"], found[name] = pattern, asks
    return asks
