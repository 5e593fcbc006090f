"""A small language model of characters, on the help texts that ship with Python.

Axes: b pieces of text, t characters, m token width, h heads, v different characters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pydoc_data import topics

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from statformer.benchmarks.optim_tasks import Losses, initialised, seeded

HELD_OUT = 0.1  # of the text, its end
EVALUATED = 48  # pieces of either part


@cache
def text() -> str:
    """The help topics in alphabetical order; they change with the version of Python."""
    return "\n".join(topics.topics[name] for name in sorted(topics.topics))


def text_sha256() -> str:
    """Which text it was."""
    return hashlib.sha256(text().encode()).hexdigest()


@cache
def _encoded() -> tuple[Tensor, Tensor, int]:
    """Characters as numbers: the part for training, the part held out, and how many differ."""
    letters = sorted(set(text()))
    number = {letter: i for i, letter in enumerate(letters)}
    encoded = torch.tensor([number[letter] for letter in text()])
    first = round(len(encoded) * (1.0 - HELD_OUT))
    return encoded[:first], encoded[first:], len(letters)


@dataclass(frozen=True)
class Shape:
    """Of a language model."""

    n_layers: int
    n_heads: int
    width: int
    n_context: int


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x); every character sees those before it."""

    def __init__(self, shape: Shape):
        super().__init__()
        m = shape.width
        self.n_heads = shape.n_heads
        self.norms = nn.ModuleList([nn.LayerNorm(m), nn.LayerNorm(m)])
        self.qkv, self.mix = nn.Linear(m, 3 * m), nn.Linear(m, m)
        self.mlp = nn.Sequential(nn.Linear(m, 4 * m), nn.GELU(), nn.Linear(4 * m, m))

    def forward(self, x: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        b, t, m = x.shape
        q, k, v = self.qkv(self.norms[0](x)).view(b, t, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        heads = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(heads.transpose(1, 2).reshape(b, t, m))
        return x + self.mlp(self.norms[1](x))


class LanguageModel(nn.Module):
    """Characters to logits of the next one; weights begin N(0, 0.02^2), biases 0, as GPT-2's."""

    def __init__(self, shape: Shape, n_letters: int):
        super().__init__()
        self.letters = nn.Embedding(n_letters, shape.width)
        self.places = nn.Embedding(shape.n_context, shape.width)
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.n_layers)))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, n_letters)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, letters: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        places = self.places.weight[: letters.shape[1]]
        return self.head(self.norm(self.blocks(self.letters(letters) + places)))


@dataclass(frozen=True)
class LanguageTask:
    """Mean cross-entropy, in nats, of the next character."""

    name: str
    n_steps: int
    shape: Shape
    batch_size: int
    device: str = "cpu"
    max_gradient_norm: float | None = field(default=None, init=False)

    def build(self, seed: int) -> nn.Module:
        with initialised(seed):
            return LanguageModel(self.shape, _encoded()[2]).to(self.device)

    def batches(self, seed: int) -> Iterator[Int[Tensor, "b t"]]:
        train, rng = _encoded()[0], seeded(seed)
        last = len(train) - self.shape.n_context - 1
        while True:
            yield self._pieces(train, torch.randint(last, (self.batch_size,), generator=rng))

    def _pieces(self, letters: Int[Tensor, " n"], begin: Int[Tensor, " b"]) -> Int[Tensor, "b t"]:
        """Pieces one character longer than the context: the last is only predicted."""
        index = begin[:, None] + torch.arange(self.shape.n_context + 1)
        return letters[index].to(self.device)

    def loss(self, module: nn.Module, batch: Int[Tensor, "b t"]) -> Tensor:
        return cross_entropy(module(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())

    def evaluate(self, module: nn.Module, seed: int) -> Losses:
        found = []
        with torch.no_grad():
            for part in _encoded()[:2]:
                last = len(part) - self.shape.n_context - 1
                begin = torch.linspace(0, last - 1, EVALUATED).long()
                losses = [
                    self.loss(module, self._pieces(part, some)).item()
                    for some in torch.split(begin, self.batch_size)
                ]
                found.append(sum(losses) / len(losses))
        return Losses(*found)


def python_text(n_steps: int) -> LanguageTask:
    """Two layers of width 48."""
    shape = Shape(n_layers=2, n_heads=4, width=48, n_context=32)
    return LanguageTask("text, language model", n_steps, shape, batch_size=16)
