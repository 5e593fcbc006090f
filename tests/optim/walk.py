"""Fast forms beside their twin: the same gradients, compared after every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from optim.forms import FAST, TWIN, copies, eta_of, normal

PATHS: dict[str, dict[str, Any]] = {
    "default": {},
    "one by one": {"foreach": False},
    "foreach": {"foreach": True},
    "one by one, capturable": {"foreach": False, "capturable": True},
    "foreach, capturable": {"foreach": True, "capturable": True},
}

# How far a parameter may be from the twin's, which computes in float64 and rounds once.
TOLERANCE: dict[torch.dtype, tuple[float, float]] = {
    torch.float64: (1e-9, 1e-12),
    torch.complex128: (1e-9, 1e-12),
    torch.float32: (1e-4, 1e-5),
    torch.bfloat16: (2.0**-7, 1e-3),
    torch.float16: (2.0**-10, 1e-4),
}
HALF = (torch.bfloat16, torch.float16)
STATE_NAMES = {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq", "G": "sum"}


def mixed_tensors(dtype: torch.dtype, *, n_small: int = 2, big: int = 0) -> list[Tensor]:
    """A scalar, vectors, matrices, empty ones, views with holes, some that start at zero."""
    shapes: list[tuple[int, ...]] = [(), (1,), (7,), (3, 5), (0,), (2, 0, 3), (2, 1, 3, 2)]
    shapes += [(1 + i % 4,) for i in range(n_small)]
    shapes += [(big,)] if big else []
    tensors = [normal(shape, seed, dtype) for seed, shape in enumerate(shapes)]
    tensors.append(normal((6, 4), 100, dtype).t())
    tensors.append(normal((5, 6), 101, dtype)[:, ::2])
    tensors.append(normal((2, 3, 4, 2), 102, dtype).contiguous(memory_format=torch.channels_last))
    tensors += [torch.zeros(4, 3, dtype=dtype), torch.zeros((), dtype=dtype)]
    return tensors


def gradient_of(x: Tensor, index: int, step: int) -> Tensor:
    """A drift with noise, so that distances grow; tensors differ in scale; one is always zero."""
    scale = 0.0 if index == 3 else 10.0 ** (index % 5 - 2)
    drift = normal(x.shape, 1000 + index, x.dtype)
    return scale * (drift + normal(x.shape, 10_000 + 100 * step + index, x.dtype))


@dataclass
class Walk:
    """One twin and any number of fast forms, started from the same parameters."""

    algorithm: str
    options: dict[str, Any]
    groups: Sequence[Sequence[Tensor]]
    group_options: Sequence[dict[str, Any]] = ()
    paths: Sequence[str] = tuple(PATHS)
    gradient: Callable[[Tensor, int, int], Tensor | None] = gradient_of
    n_steps: int = 0
    forms: dict[str, tuple[Any, list[list[Tensor]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.forms["twin"] = self._make(TWIN[self.algorithm], {})
        for path in self.paths:
            self.forms[path] = self._make(FAST[self.algorithm], PATHS[path])

    def _make(self, make: Any, path: dict[str, Any]) -> tuple[Any, list[list[Tensor]]]:
        groups = [copies(list(group)) for group in self.groups]
        own = list(self.group_options) or [{}] * len(groups)
        named = [{"params": group, **o} for group, o in zip(groups, own, strict=True)]
        return make(named, **self.options, **path), groups

    @property
    def twin(self) -> Any:
        return self.forms["twin"][0]

    def add_group(self, tensors: Sequence[Tensor], **options: Any) -> None:
        for optimizer, groups in self.forms.values():
            groups.append(copies(list(tensors)))
            optimizer.add_param_group({"params": groups[-1], **options})

    def require_grad(self, group: int, index: int, wanted: bool) -> None:
        """Freeze a parameter in every form, or let it go on."""
        for _, groups in self.forms.values():
            groups[group][index].requires_grad_(wanted)

    def step(self, n_steps: int = 1) -> None:
        for _ in range(n_steps):
            _, groups = self.forms["twin"]
            gradients = [
                self.gradient(p, index, self.n_steps)
                for index, p in enumerate(p for group in groups for p in group)
            ]
            for optimizer, groups in self.forms.values():
                params = (p for group in groups for p in group)
                for p, g in zip(params, gradients, strict=True):
                    p.grad = g.clone() if g is not None and p.requires_grad else None
                optimizer.step()
            self.n_steps += 1
            self.compare()

    def compare(self) -> None:
        _, expected = self.forms["twin"]
        for path in self.paths:
            optimizer, groups = self.forms[path]
            where = f"{path}, after {self.n_steps} steps"
            for i, (group, twin_group) in enumerate(zip(groups, expected, strict=True)):
                self._compare_eta(i, optimizer, group, where)
                for j, (p, q) in enumerate(zip(group, twin_group, strict=True)):
                    rtol, atol = TOLERANCE[p.dtype]
                    if not torch.allclose(p.detach(), q.detach(), rtol=rtol, atol=atol):
                        raise AssertionError(
                            f"{where}: parameter {j} of group {i}, shape {tuple(p.shape)}, is\n"
                            f"{p.detach()}\nand the twin's\n{q.detach()}"
                        )
            self._start_again_from_rounded(groups, expected)

    def _compare_eta(self, i: int, optimizer: Any, group: list[Tensor], where: str) -> None:
        exact = any(p.dtype in (torch.float64, torch.complex128) for p in group)
        actual, expected = eta_of(optimizer, i), eta_of(self.twin, i)
        rtol = 1e-9 if exact and len({p.dtype for p in group}) == 1 else 1e-4
        assert abs(actual - expected) <= rtol * expected, (
            f"{where}: eta of group {i} is {actual!r}, the twin's is {expected!r}"
        )

    def _start_again_from_rounded(
        self, groups: list[list[Tensor]], expected: list[list[Tensor]]
    ) -> None:
        """Half precision: a rounding that falls the other way must not add up over the steps."""
        with torch.no_grad():
            for group, twin_group in zip(groups, expected, strict=True):
                for p, q in zip(group, twin_group, strict=True):
                    if p.dtype in HALF:
                        p.copy_(q)

    def compare_state(self) -> None:
        """Start points, counts and moments are the twin's, in at least float32."""
        _, expected = self.forms["twin"]
        for path in self.paths:
            optimizer, groups = self.forms[path]
            for group, twin_group in zip(groups, expected, strict=True):
                for p, q in zip(group, twin_group, strict=True):
                    if q in self.twin.state:
                        self._compare_one(optimizer.state[p], self.twin.state[q], p, path)
                    else:
                        assert not optimizer.state[p], f"{path}: a state without a gradient"

    def _compare_one(self, actual: dict[str, Any], twin: Any, p: Tensor, path: str) -> None:
        assert int(actual["step"]) == twin.t, path
        exact = p.dtype in (torch.float64, torch.complex128)
        kept = torch.float64 if exact else torch.float32
        if twin.x0.any():
            assert torch.equal(_flat(actual["x0"]), twin.x0.flatten()), path
            assert _flat_dtype(actual["x0"]) == kept, path
        else:
            assert "x0" not in actual or actual["x0"].numel() == 0, path
        for name, buffer in twin.buffers.items():
            key = "sum" if name == "v" and "sum" in actual else STATE_NAMES[name]
            if name == "m" and key not in actual:
                continue  # with beta1 = 0 the average is the gradient
            assert _flat_dtype(actual[key]) == kept, f"{path}: {key} is {actual[key].dtype}"
            rtol, atol = (1e-9, 1e-15) if exact else (1e-4, 1e-7)
            torch.testing.assert_close(
                _flat(actual[key]), buffer.flatten(), rtol=rtol, atol=atol * _size(buffer)
            )


def _size(buffer: Tensor) -> float:
    return max(1.0, float(buffer.abs().max())) if buffer.numel() else 1.0


def _flat_dtype(x: Tensor) -> torch.dtype:
    return (torch.view_as_real(x) if x.is_complex() else x).dtype


def _flat(x: Tensor) -> Tensor:
    return (torch.view_as_real(x) if x.is_complex() else x).flatten().to(torch.float64)
