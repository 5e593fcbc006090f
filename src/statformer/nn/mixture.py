"""A Transformer over data tokens and centre tokens: E, M and point layers as slices.

Data attend to centres (E), centres attend to data (M), data may attend to data (point layers), and
steps within a token stand between them. The weights come from a theorem
(`constructions/mixture_transformer.py`) or from training that begins at noise (`from_noise`).

Axes: b tables, n points, d features, c components, h heads, q and k tokens as queries and keys, t
tokens, m token width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, einsum, nn

from statformer.batch import Centres, Tables, Trace
from statformer.nn.attention import Attention, FactoredAttention, softmax
from statformer.nn.layout import TokenLayout
from statformer.nn.read_write import MLP, ReadWrite

TokenSet = Literal["data", "centres"]
Streams = dict[TokenSet, Tensor]  # "b n m" and "b c m"
Keep = dict[TokenSet, Tensor]  # weight "b n" and is_component "b c": how often each key counts
Start = Centres | Float[Tensor, "b n c"]


class Step(nn.Module):
    """One update of one residual stream: H_q <- H_q + update.

    With `keys` the module is an attention from the tokens `queries` to the tokens `keys`; without,
    it is a step within the tokens `queries`. `norm`, if any, is applied to what the module reads.
    """

    def __init__(
        self,
        name: str,
        module: Attention | FactoredAttention | ReadWrite | MLP,
        *,
        queries: TokenSet,
        keys: TokenSet | None = None,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.name, self.module, self.norm = name, module, norm
        self.queries, self.keys = queries, keys

    @property
    def operations(self) -> tuple[str, ...]:
        """What this step does that is neither attention nor linear."""
        norm = () if self.norm is None else ("layer norm",)
        return norm + (() if self.keys is not None else cast(ReadWrite, self.module).operations)

    def forward(self, streams: Streams, keep: Keep) -> tuple[Tensor, Tensor | None]:
        """The new stream of `queries`, and the attention pattern if there is one."""
        H = streams[self.queries]
        read = H if self.norm is None else self.norm(H)
        if self.keys is None:
            return H + self.module(read), None
        attention = cast(Attention, self.module)
        source = streams[self.keys]
        source = source if self.norm is None else self.norm(source)
        pattern = attention.pattern(read, source, keep[self.keys][:, None])
        return H + attention.read(pattern, source), pattern


class MixtureTransformer(nn.Module):
    """(tables, start) -> trace, the interface of `EMNetwork`.

    A layer is a list of steps that ends with an E layer; after each layer the read-out turns the
    residual streams into responsibilities and centres. From `Centres` the steps of `entry` (refresh
    and E) come first; from responsibilities the first layer's M comes first.

    Padding: rows of weight 0 and centres with `is_component` False are keys for nobody. A row of
    weight 2 counts as two rows.
    """

    def __init__(
        self,
        embedding: SlotEmbedding | LinearEmbedding,
        layers: Sequence[Sequence[Step]],
        readout: SlotReadout | PatternReadout,
        *,
        entry: Sequence[Step],
        n_loops: int | None = None,
    ) -> None:
        """`n_loops` applies a single layer that often.

        Raises ValueError for `n_loops` with several layers.
        """
        super().__init__()
        if n_loops is not None and len(layers) != 1:
            raise ValueError(
                f"n_loops={n_loops} needs one layer, there are {len(layers)}; "
                "leave n_loops out or pass a single layer"
            )
        self.embedding, self.readout = embedding, readout
        self.entry = nn.ModuleList(entry)
        self.layers = nn.ModuleList(nn.ModuleList(steps) for steps in layers)
        self.n_loops = n_loops
        self.n_layers = len(layers) if n_loops is None else n_loops

    @property
    def non_attention_operations(self) -> dict[str, tuple[str, ...]]:
        """Step name -> what it does that is neither attention nor linear, where there is any."""
        steps = [
            *self.entry,
            *(step for layer in self.layers for step in cast(nn.ModuleList, layer)),
        ]
        listed = {cast(Step, step).name: cast(Step, step).operations for step in steps}
        return {name: operations for name, operations in listed.items() if operations}

    def forward(self, tables: Tables, start: Start) -> Trace:
        """Responsibilities and centres after every layer; entry -1 is the answer."""
        return self._run(tables, start, None)

    def record(self, tables: Tables, start: Start) -> dict[str, Tensor]:
        """Every attention pattern and every residual stream, by name, in the order of computing.

        "embedding.data", "embedding.centres"; then for each step S of "entry" and "layer 1", ...:
        "layer 1.S.pattern" ("b h q k", attention only) and "layer 1.S.data" or ".centres", the
        stream that S has just updated; and "layer 1.responsibilities", what is read out ("b n c").
        """
        found: dict[str, Tensor] = {}
        self._run(tables, start, found)
        return found

    def _run(self, tables: Tables, start: Start, found: dict[str, Tensor] | None) -> Trace:
        streams, is_component = self.embedding(tables, start)
        keep: Keep = {"data": tables.weight, "centres": is_component}
        if found is not None:
            found.update({f"embedding.{name}": stream for name, stream in streams.items()})
        if isinstance(start, Centres) or not self.embedding.holds_responsibilities:
            streams = _walk("entry", self.entry, streams, keep, found)
        trace = Trace()
        for layer in range(self.n_layers):
            steps = cast(nn.ModuleList, self.layers[0 if self.n_loops is not None else layer])
            streams = _walk(f"layer {layer + 1}", steps, streams, keep, found)
            responsibilities, centres = self.readout(streams, tables, is_component)
            if found is not None:
                found[f"layer {layer + 1}.responsibilities"] = responsibilities
            trace.responsibilities.append(responsibilities)
            trace.centres.append(centres)
        return trace

    @classmethod
    def from_noise(
        cls,
        n_features: int,
        *,
        rng: Generator,
        width: int = 64,
        n_layers: int = 4,
        n_heads: int = 4,
        n_hidden: int | None = None,
        sigma: float = 1.0,
        layer_norm: bool = True,
        point_layers: bool = False,
    ) -> MixtureTransformer:
        """Factored heads, MLPs and layer norms drawn at random: the network that is trained.

        A layer is M, MLP on centres, [points], E, MLP on data; `entry` is [points], E, MLP on data.
        Heads have width / n_heads columns; `n_hidden` is 4 width when left out. Nothing depends on
        the number of points or components, nor on their order. Tables may have fewer than
        `n_features` columns. Responsibilities are the pattern of a last head, data to centres;
        `sigma` is only passed on in the read-out centres.

        Raises ValueError where n_heads does not divide the width.
        """
        if width % n_heads:
            raise ValueError(
                f"width={width} is no multiple of n_heads={n_heads}; change one of the two"
            )

        def norm() -> nn.Module | None:
            return nn.LayerNorm(width, device=rng.device) if layer_norm else None

        def attend(name: str, queries: TokenSet, keys: TokenSet) -> Step:
            heads = FactoredAttention.from_noise(width, n_heads, width // n_heads, rng)
            return Step(name, heads, queries=queries, keys=keys, norm=norm())

        def within(name: str, queries: TokenSet) -> Step:
            mlp = MLP(width, n_hidden or 4 * width, rng)
            return Step(name, mlp, queries=queries, norm=norm())

        def respond() -> list[Step]:
            points = [attend("points", "data", "data")] if point_layers else []
            return [*points, attend("E", "data", "centres"), within("data MLP", "data")]

        def estimate() -> list[Step]:
            return [attend("M", "centres", "data"), within("centre MLP", "centres")]

        return cls(
            LinearEmbedding.from_noise(n_features, width, rng),
            [[*estimate(), *respond()] for _ in range(n_layers)],
            PatternReadout.from_noise(width, sigma, rng, norm()),
            entry=respond(),
        )


def _walk(
    stage: str,
    steps: nn.ModuleList,
    streams: Streams,
    keep: Keep,
    found: dict[str, Tensor] | None,
) -> Streams:
    streams = dict(streams)
    for module in steps:
        step = cast(Step, module)
        streams[step.queries], pattern = step(streams, keep)
        if found is None:
            continue
        if pattern is not None:
            found[f"{stage}.{step.name}.pattern"] = pattern
        found[f"{stage}.{step.name}.{step.queries}"] = streams[step.queries]
    return streams


# ---------------------------------------------------------------------------------------------
# Explicit slots: tokens are written and read by name


class SlotEmbedding(nn.Module):
    """Data and centre tokens in the slots of `TokenLayout.mixture`; nothing is computed.

    From centres: payload mu_j and count n pi_j, which the "refresh" step of `entry` turns into a
    bias. From responsibilities: the scratch block of the data; components that own no weight are
    absent.
    """

    holds_responsibilities = True

    def __init__(self, layout: TokenLayout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, tables: Tables, start: Start) -> tuple[Streams, Bool[Tensor, "b c"]]:
        X, slot = tables.X, self.layout
        b, n, d = X.shape
        c = slot.widths["identity"]
        data, centres = X.new_zeros(b, n, slot.width), X.new_zeros(b, c, slot.width)
        self._check(d, start)
        data[..., slot["payload"]] = X
        data[..., slot["one"]] = data[..., slot["is_data"]] = 1.0
        centres[..., slot["identity"]] = torch.eye(c, dtype=X.dtype, device=X.device)
        centres[..., slot["one"]] = centres[..., slot["is_centre"]] = 1.0
        if not isinstance(start, Centres):
            data[..., slot["responsibility"]] = start
            return {"data": data, "centres": centres}, _owns_weight(tables, start)
        total = tables.weight.sum(-1, keepdim=True)
        centres[..., slot["payload"]] = start.means
        centres[..., slot["count"]] = (total * start.weights)[..., None]
        return {"data": data, "centres": centres}, start.is_component

    def _check(self, n_features: int, start: Start) -> None:
        d, c = self.layout.widths["payload"], self.layout.widths["identity"]
        given = (start.weights if isinstance(start, Centres) else start).shape[-1]
        if (n_features, given) != (d, c):
            raise ValueError(
                f"tables with {n_features} columns and a start with {given} components do not fit "
                f"weights written for {d} and {c}; pad the tables, or write weights of that size"
            )


class SlotReadout(nn.Module):
    """r from the scratch block of the data, mu from the payload and pi = N / n of the centres.

    Where `weighs` is False (Lloyd) pi is uniform over the components. Sigma = sigma^2 I.
    """

    def __init__(self, layout: TokenLayout, sigma: float, *, weighs: bool = True) -> None:
        super().__init__()
        self.layout, self.sigma, self.weighs = layout, sigma, weighs

    def forward(
        self, streams: Streams, tables: Tables, is_component: Bool[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b n c"], Centres]:
        data, centres, slot = streams["data"], streams["centres"], self.layout
        there = is_component.to(centres.dtype)
        if self.weighs:
            total = tables.weight.sum(-1, keepdim=True)
            weights = there * centres[..., slot["count"]].squeeze(-1) / total
        else:
            weights = there / there.sum(-1, keepdim=True)
        means = there[..., None] * centres[..., slot["payload"]]
        read = Centres(weights, means, _isotropic(tables, is_component, self.sigma), is_component)
        return data[..., slot["responsibility"]], read


# ---------------------------------------------------------------------------------------------
# Learned read-in and read-out


class LinearEmbedding(nn.Module):
    """Data tokens (x, 1) W_data and centre tokens (mu, log pi, 1) W_centre.

    Centres of a start given as responsibilities are their weighted means. Tables with fewer columns
    than d are padded with zeros.
    """

    holds_responsibilities = False

    def __init__(
        self, W_data: Float[Tensor, "d_plus_1 m"], W_centre: Float[Tensor, "d_plus_2 m"]
    ) -> None:
        super().__init__()
        self.W_data, self.W_centre = nn.Parameter(W_data), nn.Parameter(W_centre)
        self.n_features = W_data.shape[0] - 1

    @classmethod
    def from_noise(cls, n_features: int, width: int, rng: Generator) -> LinearEmbedding:
        """The same normal weights for x and mu, so that a centre begins like a point at its mean.

        A column of unit variance adds variance 1 / sqrt(d) to each slot of a token.
        """

        def normal(rows: int) -> Tensor:
            return torch.randn(rows, width, generator=rng, device=rng.device)

        payload, scale = normal(n_features) * n_features**-0.25, n_features**-0.25
        return cls(torch.cat([payload, normal(1) * scale]), torch.cat([payload, normal(2) * scale]))

    def forward(self, tables: Tables, start: Start) -> tuple[Streams, Bool[Tensor, "b c"]]:
        X = tables.X
        if X.shape[-1] > self.n_features:
            raise ValueError(
                f"tables have {X.shape[-1]} columns, the weights take at most {self.n_features}; "
                "reduce the columns, or use weights trained with more"
            )
        if not isinstance(start, Centres):
            start = moments(tables, start, _owns_weight(tables, start), sigma=1.0)
        there = start.is_component.to(X.dtype)[..., None]
        log_pi = torch.log(torch.where(start.is_component, start.weights, 1.0).clamp_min(1e-12))
        data = torch.cat([self._pad(X), torch.ones_like(X[..., :1])], dim=-1)
        centres = torch.cat([self._pad(start.means), log_pi[..., None], there], dim=-1)
        streams: Streams = {"data": data @ self.W_data, "centres": centres @ self.W_centre}
        return streams, start.is_component

    def _pad(self, X: Float[Tensor, "b t d"]) -> Float[Tensor, "b t w"]:
        return nn.functional.pad(X, (0, self.n_features - X.shape[-1]))


class PatternReadout(nn.Module):
    """r = softmax over centres of (H_D W_Q)(H_C W_K)'; centres = the moments under r."""

    def __init__(
        self,
        W_Q: Float[Tensor, "m e"],
        W_K: Float[Tensor, "m e"],
        sigma: float,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.W_Q, self.W_K = nn.Parameter(W_Q), nn.Parameter(W_K)
        self.sigma, self.norm = sigma, norm

    @classmethod
    def from_noise(
        cls, width: int, sigma: float, rng: Generator, norm: nn.Module | None
    ) -> PatternReadout:
        """Normal weights under which tokens of unit variance have scores of unit variance."""

        def normal() -> Tensor:
            return torch.randn(width, width, generator=rng, device=rng.device) * width**-0.75

        return cls(normal(), normal(), sigma, norm)

    def forward(
        self, streams: Streams, tables: Tables, is_component: Bool[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b n c"], Centres]:
        data, centres = streams["data"], streams["centres"]
        if self.norm is not None:
            data, centres = self.norm(data), self.norm(centres)
        scores = einsum("bne,bce->bnc", data @ self.W_Q, centres @ self.W_K)
        keep = is_component[:, None, None].to(scores.dtype)
        r = softmax(scores[:, None], keep)[:, 0]
        return r, moments(tables, r, is_component, self.sigma)


def moments(
    tables: Tables,
    responsibilities: Float[Tensor, "b n c"],
    is_component: Bool[Tensor, "b c"],
    sigma: float,
) -> Centres:
    """N_j = sum_i w_i r_ij, pi = N / sum N, mu_j = sum_i w_i r_ij x_i / N_j, Sigma = sigma^2 I."""
    a = tables.weight[..., None] * responsibilities * is_component[:, None].to(tables.X.dtype)
    owned = a.sum(1)
    means = einsum("bnc,bnd->bcd", a, tables.X) / torch.where(owned > 0, owned, 1.0)[..., None]
    weights = owned / owned.sum(-1, keepdim=True)
    return Centres(weights, means, _isotropic(tables, is_component, sigma), is_component)


def _owns_weight(tables: Tables, responsibilities: Float[Tensor, "b n c"]) -> Bool[Tensor, "b c"]:
    return einsum("bn,bnc->bc", tables.weight, responsibilities) > 0


def _isotropic(
    tables: Tables, is_component: Bool[Tensor, "b c"], sigma: float
) -> Float[Tensor, "b c d d"]:
    """sigma^2 I; 1 on the diagonal for absent components and padded columns."""
    X = tables.X
    variance = X.new_full((X.shape[0], 1, X.shape[-1]), sigma**2)
    if tables.is_feature is not None:
        variance = torch.where(tables.is_feature[:, None], variance, 1.0)
    variance = torch.where(is_component[..., None], variance, 1.0)
    return torch.diag_embed(variance)
