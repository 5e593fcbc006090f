"""A Transformer over data tokens and centre tokens: E, M and point layers as slices.

Data attend to centres (E), centres attend to data (M), data may attend to data (point layers), and
steps within a token stand between them. The weights come from a theorem
(`constructions/mixture_transformer.py`) or from training that begins at noise (`from_noise`).

Axes: b tables, n points, d features, c components, h heads, q and k tokens as queries and keys, t
tokens, m token width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Generator, Tensor, nn

from statformer.batch import Centres, Tables, Trace
from statformer.nn.attention import Attention, FactoredAttention
from statformer.nn.read_write import MLP, ReadWrite
from statformer.nn.tokens import (
    LinearEmbedding,
    PatternReadout,
    SlotEmbedding,
    SlotReadout,
    Start,
    Streams,
    TokenSet,
)

Keep = dict[TokenSet, Tensor]  # weight "b n" and is_component "b c": how often each key counts


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
        Heads have width / n_heads columns; `n_hidden` is 4 width when left out. What a step adds is
        scaled by 1 / sqrt(4 n_layers), so that depth does not blow up the streams. Nothing depends
        on the number of points or components, nor on their order. Tables may have fewer than
        `n_features` columns. Responsibilities are the pattern of a last head, data to centres;
        `sigma` is only passed on in the read-out centres.

        Raises ValueError where n_heads does not divide the width.
        """
        if width % n_heads:
            raise ValueError(
                f"width={width} is no multiple of n_heads={n_heads}; change one of the two"
            )

        gain = (4 * n_layers) ** -0.5

        def norm() -> nn.Module | None:
            return nn.LayerNorm(width, device=rng.device) if layer_norm else None

        def attend(name: str, queries: TokenSet, keys: TokenSet) -> Step:
            heads = FactoredAttention.from_noise(width, n_heads, width // n_heads, rng, gain=gain)
            return Step(name, heads, queries=queries, keys=keys, norm=norm())

        def within(name: str, queries: TokenSet) -> Step:
            mlp = MLP(width, n_hidden or 4 * width, rng, gain)
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
