"""Steps within a token: the fully connected half of a Transformer block.

`ReadWrite` reads named slots, applies named functions and writes through a visible matrix; `MLP` is
the trained kind. Both return what is added to the residual stream.

Axes: b tables, t tokens, m token width, f values that a step computes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from statformer.nn.layout import TokenLayout

# log 0 := -1e30: its exponential is 0, and unlike -inf it may be multiplied by a zero weight.
LOG_ZERO = -1e30


def _copy(x: Tensor) -> Tensor:
    return x


def _log(x: Tensor) -> Tensor:
    positive = x > 0
    return torch.where(positive, torch.log(torch.where(positive, x, 1.0)), LOG_ZERO)


def _ratio(total: Tensor, count: Tensor, otherwise: Tensor) -> Tensor:
    owned = count > 0
    return torch.where(owned, total / torch.where(owned, count, 1.0), otherwise)


def _if_owned(value: Tensor, count: Tensor, otherwise: Tensor) -> Tensor:
    return torch.where(count > 0, value, otherwise)


def _excess(x: Tensor, threshold: Tensor) -> Tensor:
    return torch.relu(x - threshold)


# name -> (function, the operations that neither attention nor a linear map does)
_FUNCTIONS: dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "copy": (_copy, ()),
    "square": (torch.square, ("square",)),
    "log": (_log, ("log",)),
    "ratio": (_ratio, ("division", "comparison with 0")),
    "if_owned": (_if_owned, ("comparison with 0",)),
    "excess": (_excess, ("relu",)),
}


class ReadWrite(nn.Module):
    """H -> f(H) W_write, where f are named functions of named slots.

    `writes` maps (function of slots, target slot) to a weight, for example

        ("square(payload)", "bias"): -0.5    adds -0.5 times the sum of squares of the payload
        ("copy(bias)", "bias"): -1.0         takes the old bias away

    | function               | value                                                |
    |------------------------|------------------------------------------------------|
    | copy(x)                | x                                                    |
    | square(x)              | x^2, entry by entry                                  |
    | log(x)                 | log x, and -1e30 for log 0                           |
    | ratio(x, n, y)         | x / n, and y where n = 0                             |
    | if_owned(x, n, y)      | x, and y where n = 0                                 |
    | excess(x, y)           | max(x - y, 0)                                        |
    """

    def __init__(self, layout: TokenLayout, writes: Mapping[tuple[str, str], float]) -> None:
        """Raises ValueError for a function that is not in the table."""
        super().__init__()
        self.layout = layout
        self.reads = [_parse(read) for read in dict.fromkeys(read for read, _ in writes)]
        self.rows = TokenLayout({read: layout.widths[slots[0]] for read, _, slots in self.reads})
        self.W_write = nn.Parameter(torch.from_numpy(self.rows.matrix(writes, layout)))

    @property
    def operations(self) -> tuple[str, ...]:
        """What this step does that is neither attention nor linear."""
        names = [name for _, function, _ in self.reads for name in _FUNCTIONS[function][1]]
        return tuple(dict.fromkeys(names))

    def forward(self, H: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        values = [
            _FUNCTIONS[function][0](*(H[..., self.layout[slot]] for slot in slots))
            for _, function, slots in self.reads
        ]
        return torch.cat(values, dim=-1) @ self.W_write


def _parse(read: str) -> tuple[str, str, tuple[str, ...]]:
    match = re.fullmatch(r"(\w+)\((.+)\)", read)
    if match is None or match[1] not in _FUNCTIONS:
        raise ValueError(
            f"cannot read {read!r}; write function(slot, ...) with one of {', '.join(_FUNCTIONS)}"
        )
    return read, match[1], tuple(slot.strip() for slot in match[2].split(","))


class MLP(nn.Module):
    """H -> gelu(H W_in + b_in) W_out + b_out; W_in of variance 1 / rows, W_out gain^2 / rows."""

    operations = ("gelu",)

    def __init__(self, width: int, n_hidden: int, rng: Generator, gain: float = 1.0) -> None:
        super().__init__()

        def normal(rows: int, columns: int, scale: float) -> nn.Parameter:
            noise = torch.randn(rows, columns, generator=rng, device=rng.device)
            return nn.Parameter(noise * (scale * rows**-0.5))

        self.W_in, self.W_out = normal(width, n_hidden, 1.0), normal(n_hidden, width, gain)
        self.b_in = nn.Parameter(torch.zeros(n_hidden, device=rng.device))
        self.b_out = nn.Parameter(torch.zeros(width, device=rng.device))

    def forward(self, H: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        hidden = nn.functional.gelu(H @ self.W_in + self.b_in)
        return hidden @ self.W_out + self.b_out
