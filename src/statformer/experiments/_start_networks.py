"""Three beginnings of a training run: weights that are Lloyd's steps by a theorem, and noise.

Axes: b tables, n points, c components.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor
from torch.utils.flop_counter import FlopCounterMode

from statformer.batch import Centres, Tables
from statformer.constructions.mixture_transformer import lloyd_transformer
from statformer.experiments._em_networks import SmallRecipe
from statformer.nn.mixture import MixtureTransformer, Step
from statformer.nn.tokens import SlotEmbedding, SlotReadout, Streams
from statformer.tasks.stream import TaskStream

BEGINNINGS = ("theorem", "noise", "noise, same network")
_SHARPNESS, _SHARPNESS_M = 1.0, 20.0  # E of sigma = 1; M nearly the mean of a centre's own points
_FLOOR = 1e-6


class NormalisedReadout(SlotReadout):
    """The slots' responsibilities, cut at 1e-6 and divided by their sum: trained slots stray."""

    def forward(
        self, streams: Streams, tables: Tables, is_component: Bool[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b n c"], Centres]:
        r, centres = super().forward(streams, tables, is_component)
        r = r.clamp_min(_FLOOR)
        return r / r.sum(-1, keepdim=True), centres


@dataclass(frozen=True)
class BeginningRecipe(SmallRecipe):
    """`SmallRecipe` with a choice of where the weights begin; all of them are trained.

    "theorem"              n_layers copies of the layer of `lloyd_transformer`; each learns apart
    "noise"                `MixtureTransformer.from_noise`, the network that other runs train
    "noise, same network"  the first, each matrix replaced by a normal one of the same norm
    """

    beginning: str = "noise"

    def build(self, seed: int) -> MixtureTransformer:
        if self.beginning == "noise":
            return super().build(seed)
        prior = self.prior
        one = lloyd_transformer(prior.n_features, prior.n_components, 1, _SHARPNESS, _SHARPNESS_M)
        entry = [step for step in one.entry.children() if isinstance(step, Step)]
        layer = [step for step in one.layers[0].children() if isinstance(step, Step)]
        if self.beginning != "theorem":
            _draw_anew([*entry, *layer], Generator().manual_seed(seed))
        layers = [copy.deepcopy(layer) for _ in range(self.n_layers)]
        layout = cast(SlotReadout, one.readout).layout
        readout = NormalisedReadout(layout, sigma=1.0, weighs=False)
        embedding = cast(SlotEmbedding, one.embedding)
        return MixtureTransformer(embedding, layers, readout, entry=entry).float()


def gflop_per_step(recipe: BeginningRecipe) -> float:
    """1e9 multiplications and additions in the products of one training step, forth and back."""
    module = recipe.build(0)
    batch = recipe.sample(TaskStream(0, 0, range(recipe.batch_size)))
    with FlopCounterMode(display=False) as counter:
        recipe.loss(module, batch, 0.0)[0].backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops() / 1e9)


def _draw_anew(steps: Sequence[Step], rng: Generator) -> None:
    for step in steps:
        for weights in step.parameters():
            noise = torch.randn(weights.shape, generator=rng, dtype=weights.dtype)
            with torch.no_grad():
                weights.copy_(noise * (weights.norm() / noise.norm()))
