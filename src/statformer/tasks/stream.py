"""The random numbers of a step: every task owns a stream that nothing else can disturb.

Axes: b tasks; the other axes are those of the shape that the caller asks for.

A `TaskStream` plays the role of a random generator in this project. It is counter-based: a draw is
a hash of

    (seed, step, task, index of the call, index of the element),

so the numbers of task j in step s do not depend on the batch around it, on the rank that draws it,
on a restart, or on the device. Nothing has to be saved to continue a run but the step itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["TaskStream"]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_CALL = 0xD1342543DE82EF95
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB

# A round of Marsaglia and Tsang rejects at most one draw in 20, so 24 rounds fail with 1e-31.
_GAMMA_ROUNDS = 24
_SMALLEST_ALPHA = 0.1
# Words hashed at a time: the working memory of a chunk stays in the processor's cache.
_CHUNK = 1 << 16


def _signed(word: int) -> int:
    """The int64 with the same 64 bits as `word`; torch has no unsigned arithmetic."""
    word &= _MASK
    return word - (1 << 64) if word >> 63 else word


def _mix_int(word: int) -> int:
    """splitmix64's finaliser of one Python integer."""
    word &= _MASK
    word = ((word ^ (word >> 30)) * _MIX_1) & _MASK
    word = ((word ^ (word >> 27)) * _MIX_2) & _MASK
    return word ^ (word >> 31)


def _mix_(words: Tensor) -> Tensor:
    """splitmix64's finaliser, in place, of int64 `words` read as unsigned.

    Source: Steele, Lea and Flood 2014, with Stafford's constants (variant 13).
    """
    for shift, factor in ((30, _MIX_1), (27, _MIX_2), (31, None)):
        high = words >> shift
        high &= (1 << (64 - shift)) - 1  # `>>` copies the sign bit; the hash wants zeros there
        words ^= high
        if factor is not None:
            words *= _signed(factor)  # wraps around, as it should
    return words


def _high_bits(words: Tensor, n_bits: int) -> Tensor:
    """The `n_bits` highest bits of each word, as non-negative integers."""
    return (words >> (64 - n_bits)) & ((1 << n_bits) - 1)


def _fractions(words: Tensor, dtype: torch.dtype) -> Tensor:
    """(k + 1/2) 2^-p with k the high p bits: exact in `dtype`, and strictly inside (0, 1)."""
    n_bits = 52 if dtype == torch.float64 else 23
    return (_high_bits(words, n_bits).to(dtype) + 0.5) * 2.0**-n_bits


class TaskStream:
    """Draws for `tasks` of one step; the leading axis of every draw runs over the tasks.

    `tasks` are the indices of the tasks inside the step (a range, or any sequence of integers), so
    a rank that holds tasks 64..127 passes `range(64, 128)` and sees what one process would see.
    Each call advances one counter: two runs agree as long as they make the same calls in the same
    order. Within a call an element is addressed by its place in the flattened trailing shape.

    Uniforms, integers and permutations are equal to the bit everywhere. Normals and gammas pass
    through log, cos and pow, so they agree to the rounding of those functions. float64 draws are
    refinements of the float32 draws of the same call.

    >>> stream = TaskStream(seed=0, step=7, tasks=range(4))
    >>> part = TaskStream(seed=0, step=7, tasks=[2])
    >>> bool((stream.uniform(3)[2] == part.uniform(3)[0]).all())
    True
    """

    def __init__(
        self,
        seed: int,
        step: int,
        tasks: range | Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype is {dtype}; pass torch.float32 or torch.float64")
        self.seed, self.step, self.tasks = int(seed), int(step), tasks
        self.device, self.dtype = torch.device(device), dtype
        self._n_calls = 0
        start = _mix_int(_mix_int(self.seed + _GOLDEN) + self.step * _GOLDEN)
        if isinstance(tasks, range):
            index = torch.arange(
                tasks.start, tasks.stop, tasks.step, dtype=torch.int64, device=self.device
            )
        else:
            index = torch.tensor(list(tasks), dtype=torch.int64, device=self.device)
        self._keys = _mix_(_mix_(index * _signed(_GOLDEN) + _signed(start)))

    def __len__(self) -> int:
        return len(self.tasks)

    def __repr__(self) -> str:
        return f"TaskStream(seed={self.seed}, step={self.step}, tasks={self.tasks!r})"

    def shared(self) -> TaskStream:
        """A stream with one row (b = 1) whose draws are common to all tasks of the step.

        It is the stream of task -1, and each call of `shared` begins it anew: call it once. It
        suits what a batch must agree on, such as the numbers of points and features.
        """
        return TaskStream(self.seed, self.step, range(-1, 0), self.device, self.dtype)

    def branch(self, rows: Int[Tensor, " r"] | None = None) -> TaskStream:
        """A stream of its own for the tasks at `rows` (all of them by default).

        It costs this stream one call however much is drawn from the branch, or whether anything
        is: what comes after stays as it was. A task draws the same numbers whatever other rows
        are taken along, so a piece that concerns few tasks is drawn for those few alone.
        """
        keys = self._next_keys()
        tasks: range | Sequence[int] = self.tasks
        if rows is not None:
            keys, tasks = keys[rows], [self.tasks[i] for i in rows.tolist()]
        branch = TaskStream(self.seed, self.step, range(0), self.device, self.dtype)
        branch.tasks, branch._keys = tasks, keys
        return branch

    # -- draws ---------------------------------------------------------------------------------

    def uniform(self, *shape: int) -> Float[Tensor, "b *shape"]:
        """Uniform on (0, 1), the ends excluded."""
        words = self._words(self._next_keys(), math.prod(shape))
        return _fractions(words, self.dtype).reshape(len(self), *shape)

    def normal(self, *shape: int) -> Float[Tensor, "b *shape"]:
        """Standard normal, by Box and Muller: sqrt(-2 log u) (cos, sin)(2 pi v)."""
        normals = self._normals(self._next_keys(), math.prod(shape), self.dtype)
        return normals.reshape(len(self), *shape)

    def integers(
        self, low: int | Tensor, high: int | Tensor, *shape: int
    ) -> Int[Tensor, "b *shape"]:
        """Uniform on low, ..., high - 1, as int64.

        `low` and `high` are integers or tensors whose leading axis is b; missing trailing axes
        are repeated. Raises ValueError when an interval given by integers is empty.
        """
        if isinstance(low, int) and isinstance(high, int) and high <= low:
            raise ValueError(f"integers from low={low} to high={high} (excluded): pass high > low")
        words = self._words(self._next_keys(), math.prod(shape))
        fractions = _fractions(words, torch.float64).reshape(len(self), *shape)
        lowest = self._aligned(low, 1 + len(shape))
        width = self._aligned(high, 1 + len(shape)) - lowest
        return lowest + torch.floor(fractions * width).to(torch.int64)

    def gamma(self, alpha: float | Tensor, *shape: int) -> Float[Tensor, "b *shape"]:
        """Gamma with shape `alpha` and scale 1; positive.

        `alpha` is a number or a tensor whose leading axis is b; missing trailing axes are
        repeated. Marsaglia and Tsang 2000, with G(alpha) = G(alpha + 1) u^(1 / alpha) below 1.
        Works in float64 inside. Raises ValueError when an alpha is below 0.1, where draws leave
        the range of floating point.
        """
        gammas = self._gammas(self._next_keys(), alpha, shape)
        return gammas.to(self.dtype).clamp_min(torch.finfo(self.dtype).tiny)

    def dirichlet(self, alpha: float | Tensor, k: int) -> Float[Tensor, "b k"]:
        """Dirichlet weights of `k` parts; `alpha` is a number, (b,) or (b, k), at least 0.1."""
        gammas = self._gammas(self._next_keys(), alpha, (k,))
        return (gammas / gammas.sum(1, keepdim=True)).to(self.dtype)

    def permutation(self, n: int) -> Int[Tensor, "b n"]:
        """A random order of 0, ..., n - 1 for every task."""
        return torch.argsort(self._words(self._next_keys(), n), dim=1, stable=True)

    # -- words ---------------------------------------------------------------------------------

    def _next_keys(self) -> Tensor:
        """One hashed key per task for the next call, "b"."""
        self._n_calls += 1
        return _mix_(self._keys + _signed(self._n_calls * _CALL))

    def _words(self, keys: Tensor, n_words: int) -> Tensor:
        """Hashed 64-bit words "b n_words"; word e of a row depends on its key and e alone."""
        counter = torch.arange(n_words, dtype=torch.int64, device=self.device)
        words = keys[:, None] + counter * _signed(_GOLDEN)
        if self.device.type == "cpu":
            for chunk in torch.split(words.view(-1), _CHUNK):
                _mix_(chunk)
            return words
        return _mix_(words)

    def _normals(self, keys: Tensor, n: int, dtype: torch.dtype) -> Tensor:
        """Standard normals "b n": one word gives a pair, elements 2p and 2p + 1.

        The radius takes the high 32 bits and the angle the low 32; float64 adds 20 bits to each
        from a second word, so that both precisions draw the same numbers up to rounding.
        """
        n_pairs = (n + 1) // 2
        words = self._words(keys, n_pairs)
        radial, angular = _high_bits(words, 32).to(dtype), (words & 0xFFFFFFFF).to(dtype)
        if dtype == torch.float64:
            finer = self._words(_mix_(keys + 1), n_pairs)
            radial = radial + (_high_bits(finer, 20).to(dtype) + 0.5) * 2.0**-20
            angular = angular + ((finer & 0xFFFFF).to(dtype) + 0.5) * 2.0**-20
        else:
            radial, angular = radial + 0.5, angular + 0.5
        radius = torch.log_(radial.mul_(2.0**-32)).mul_(-2.0).sqrt_()
        angle = angular.mul_(2.0**-32 * 2.0 * math.pi)
        pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
        return pairs.reshape(len(self), 2 * n_pairs)[:, :n]

    def _aligned(self, value: float | Tensor, n_axes: int) -> Tensor:
        """`value` on the device with `n_axes` axes: (b,) becomes (b, 1, ..., 1)."""
        aligned = torch.as_tensor(value, device=self.device)
        if aligned.ndim == 0:
            return aligned
        if aligned.ndim > n_axes or aligned.shape[0] not in (1, len(self)):
            raise ValueError(
                f"a parameter of shape {tuple(aligned.shape)} does not fit {len(self)} tasks and "
                f"{n_axes - 1} further axes; pass a number or a leading axis of length {len(self)}"
            )
        return aligned.reshape(aligned.shape + (1,) * (n_axes - aligned.ndim))

    def _gammas(self, keys: Tensor, alpha: float | Tensor, shape: tuple[int, ...]) -> Tensor:
        """Gammas "b *shape" in float64."""
        full = (len(self), *shape)
        shapes = self._aligned(alpha, len(full)).to(torch.float64).expand(full)
        if shapes.numel() and not bool((shapes >= _SMALLEST_ALPHA).all()):
            raise ValueError(f"alpha has the value {shapes.min().item()}; pass at least 0.1")
        per_task = math.prod(shape)
        flat = shapes.reshape(len(self), per_task)
        d = torch.where(flat < 1.0, flat + 1.0, flat) - 1.0 / 3.0
        cubes = self._accepted_cubes(keys, d)
        boost = _fractions(self._words(_mix_(keys + 2), per_task), torch.float64)
        boosted = torch.where(flat < 1.0, torch.pow(boost, 1.0 / flat), torch.ones_like(flat))
        return (d * cubes * boosted).reshape(full)

    def _accepted_cubes(self, keys: Tensor, d: Tensor) -> Tensor:
        """v = (1 + x / sqrt(9 d))^3 of the first accepted round of each element of d, "b n"."""
        cubes = torch.ones_like(d)  # what remains, at odds of 1e-31, is the mode
        b, n = d.shape
        pending = torch.arange(b * n, device=self.device)
        for round_index in range(_GAMMA_ROUNDS):
            if pending.numel() == 0:
                break
            task, element = pending // max(n, 1), pending % max(n, 1)
            place = _mix_(keys[task] + _signed((3 + round_index) * _CALL)) + element * _signed(
                _GOLDEN
            )
            words = [_fractions(_mix_(place + offset), torch.float64) for offset in (1, 2, 3)]
            x = torch.sqrt(-2.0 * torch.log(words[0])) * torch.cos(2.0 * math.pi * words[1])
            d_here = d.reshape(-1)[pending]
            v = (1.0 + x / torch.sqrt(9.0 * d_here)) ** 3
            log_v = torch.log(v.clamp_min(1e-300))
            bound = 0.5 * x * x + d_here * (1.0 - v + log_v)
            accepted = (v > 0.0) & (torch.log(words[2]) < bound)
            cubes.view(-1)[pending[accepted]] = v[accepted]
            pending = pending[~accepted]
        return cubes
