"""A trained `MixtureTransformer` with one step of one layer replaced by EM's, and what it costs.

Axes: b tables, n points, d features, c components, q and k tokens as queries and keys, h heads, m
token width, f features of a linear map.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statformer.batch import Centres
from statformer.constructions.mixture_transformer import em_transformer
from statformer.experiments._em_networks import double, em_network
from statformer.nn.mixture import MixtureTransformer, Step
from statformer.nn.tokens import SlotEmbedding, SlotReadout, moments
from statformer.pretraining.recipes.mixture_transformer import SeededBatch

PARTS = ("M pattern", "E pattern", "centre tokens")
VARIANTS = ("EM", "Lloyd", "no step", "shuffled", "uniform")
_RIDGE = 1e-3


class Replacer:
    """Replaces parts of `network` and counts changed labels.

    The linear maps from means to centre tokens are fitted on the tables of `fitting`.
    """

    def __init__(self, network: MixtureTransformer, fitting: SeededBatch) -> None:
        self.network = network
        before, streams = _states(network, fitting)
        self._maps = []
        for layer, r in enumerate(before):
            features = _features(_m_step(fitting, r))
            target = streams[layer]["centres"].flatten(0, 1)
            self._maps.append(_least_squares(features.flatten(0, 1), target))

    @torch.no_grad()
    def damage(self, batch: SeededBatch, layer: int, part: str, variant: str) -> float:
        """Share of points whose label changes when `part` of `layer` (from 0) is replaced.

        Raises ValueError for a part or variant that is not listed in `PARTS` and `VARIANTS`.
        """
        if part not in PARTS or variant not in VARIANTS:
            raise ValueError(f"part={part!r}, variant={variant!r}; choose from {PARTS}, {VARIANTS}")
        before, _ = _states(self.network, batch)
        r = _varied(before[layer], variant)
        centres = _m_step(batch, r)
        if variant == "no step":
            centres = batch.start
            r = _e_step(batch, centres)
        steps = _steps(self.network, layer)
        if part == "centre tokens":
            tokens = _features(centres) @ self._maps[layer]
            last = [step for step in steps.values() if step.queries == "centres"][-1]
            hook = _replace_stream(last, tokens)
        elif part == "M pattern":
            hook = _replace_pattern(steps["M"], (r / r.sum(1, keepdim=True)).mT)
        else:
            new = _e_step(batch, centres) if variant in {"EM", "Lloyd"} else r
            hook = _replace_pattern(
                steps["E"], _varied(new, "Lloyd") if variant == "Lloyd" else new
            )
        whole = self.network(batch.tables, batch.start).responsibilities[-1].argmax(-1)
        with hook:
            harmed = self.network(batch.tables, batch.start).responsibilities[-1].argmax(-1)
        return (whole != harmed).double().mean().item()


def constructed(d: int, c: int, n_layers: int) -> MixtureTransformer:
    """EM as a network of n_layers layers that can be replaced one by one, float64."""
    one = em_transformer(d, c, 1.0, 1, "log")
    layer = [step for step in one.layers[0].children() if isinstance(step, Step)]
    layers = [copy.deepcopy(layer) for _ in range(n_layers)]
    entry = [step for step in one.entry.children() if isinstance(step, Step)]
    embedding, readout = cast(SlotEmbedding, one.embedding), cast(SlotReadout, one.readout)
    return MixtureTransformer(embedding, layers, readout, entry=entry).requires_grad_(False)


def in_double(batch: SeededBatch) -> SeededBatch:
    """The same tables and start in float64."""
    tables, start = double(batch)
    return replace(batch, tables=tables, start=start)


@torch.no_grad()
def token_r2(network: MixtureTransformer, batch: SeededBatch, n_steps: int) -> list[list[float]]:
    """Per layer and t: R^2 of centre tokens from EM's means after t steps, beyond the start's."""
    _, streams = _states(network, batch)
    iterates = em_network(batch, n_steps)(*double(batch)).centres
    start = _features(batch.start).flatten(0, 1)
    found = []
    for stream in streams:
        tokens = _residual(start, stream["centres"].flatten(0, 1))
        row = []
        for centres in iterates:
            means = _features(centres).flatten(0, 1).to(tokens.dtype)
            left = _residual(_residual(start, means), tokens)
            row.append(1.0 - (left.square().sum() / tokens.square().sum()).item())
        found.append(row)
    return found


def _states(
    network: MixtureTransformer, batch: SeededBatch
) -> tuple[list[Float[Tensor, "b n c"]], list[dict[str, Tensor]]]:
    """Responsibilities read out before each layer, and the streams after its M and E halves."""
    with torch.no_grad():
        seen = network.record(batch.tables, batch.start)
        there = batch.start.is_component
        begin = {name: seen[f"embedding.{name}"] for name in ("data", "centres")}
        entry: dict[Any, Tensor] = {**begin, **_after("entry", seen)}
        before = [network.readout(entry, batch.tables, there)[0]]
        streams = []
        for layer in range(1, network.n_layers + 1):
            before.append(seen[f"layer {layer}.responsibilities"])
            streams.append(_after(f"layer {layer}", seen))
    return before[:-1], streams


def _after(stage: str, seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """The streams that the steps of a stage leave behind."""
    found = {}
    for name, value in seen.items():
        which = name.rpartition(".")[2]
        if name.startswith(f"{stage}.") and which in ("data", "centres"):
            found[which] = value
    return found


def _steps(network: MixtureTransformer, layer: int) -> dict[str, Step]:
    steps = network.layers[layer].children()
    return {step.name: step for step in steps if isinstance(step, Step)}


def _varied(r: Float[Tensor, "b n c"], variant: str) -> Float[Tensor, "b n c"]:
    """The responsibilities as they are, hard, moved on by half the points, or all alike."""
    if variant == "Lloyd":
        return nn.functional.one_hot(r.argmax(-1), r.shape[-1]).to(r.dtype)
    if variant == "shuffled":
        return r.roll(r.shape[1] // 2, dims=1)  # the points are in random order
    return torch.full_like(r, 1.0 / r.shape[-1]) if variant == "uniform" else r


def _m_step(batch: SeededBatch, r: Float[Tensor, "b n c"]) -> Centres:
    return moments(batch.tables, r, batch.start.is_component, 1.0)


def _e_step(batch: SeededBatch, centres: Centres) -> Float[Tensor, "b n c"]:
    squares = torch.cdist(batch.tables.X, centres.means).square()
    return torch.softmax(torch.log(centres.weights)[:, None] - 0.5 * squares, dim=-1)


def _features(centres: Centres) -> Float[Tensor, "b c f"]:
    """What a centre token may be linear in: e_j, pi, log pi, mu and its powers up to |mu|^4."""
    means, pi = centres.means, centres.weights[..., None]
    _, c, d = means.shape
    rows, columns = torch.triu_indices(d, d)
    squares = means[..., rows] * means[..., columns]
    norm = means.norm(dim=-1, keepdim=True)
    which = torch.eye(c, dtype=means.dtype).expand(len(means), c, c)
    powers = [norm**3, norm**4]
    return torch.cat([which, pi, torch.log(pi), means, squares, *powers], dim=-1)


def _least_squares(A: Float[Tensor, "r f"], Y: Float[Tensor, "r m"]) -> Float[Tensor, "f m"]:
    wide = A.double()
    gram = wide.mT @ wide + _RIDGE * torch.eye(A.shape[1], dtype=torch.float64)
    return torch.linalg.solve(gram, wide.mT @ Y.double()).to(Y.dtype)


def _residual(A: Float[Tensor, "r f"], Y: Float[Tensor, "r m"]) -> Float[Tensor, "r m"]:
    return Y - A @ _least_squares(A, Y)


@contextmanager
def _replace_stream(step: Step, tokens: Tensor) -> Iterator[None]:
    """The step hands on `tokens`, whatever it computes."""
    handle = step.register_forward_hook(lambda _step, _given, out: (tokens, out[1]))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _replace_pattern(step: Step, pattern: Float[Tensor, "b q k"]) -> Iterator[None]:
    """Every head of the step reads with `pattern`; norm, values and residual are the step's."""

    def read(one: Any, given: Any, out: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        streams = given[0]
        source = streams[one.keys]
        source = source if one.norm is None else one.norm(source)
        every = pattern[:, None].expand_as(out[1])
        return streams[one.queries] + one.module.read(every, source), every

    handle = step.register_forward_hook(read)
    try:
        yield
    finally:
        handle.remove()
