"""What AdaGrad++ and Adam++ share: eta, the start points, the state and the order of a step.

A step measures eta from where the parameters are, then updates them. After the first step nothing
in it waits for an accelerator: eta stays on the device, and the counters of updates on the host
unless `capturable` moves them, too.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from statformer.optim.blocks import batches
from statformer.optim.checks import check_gradient, check_group, check_scope
from statformer.optim.distance import (
    accumulator,
    default_eta0,
    next_eta,
    sample,
    squared_distance,
)
from statformer.optim.shards import Reach, ShardedSum, any_sharded, is_sharded, local, reach

__all__ = ["Count", "Group", "ParameterFree", "Params"]

Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
Group = dict[str, Any]
Count = float | Tensor
"""Updates so far, this one included: a number, or "p" with one entry per parameter."""
_Term = tuple[Reach | None, Tensor, int]
"""Where parameters lie, the sum of squares and the number of their coordinates."""
HALF = frozenset({torch.float16, torch.bfloat16})
DOUBLE = frozenset({torch.float64, torch.complex128})


@dataclass
class _Members:
    """The tensors of one group at one step, as parallel lists.

    `moved` with its start points and `grown`, which started at the origin, are all parameters that
    ever had a gradient; the others lists hold those that have one now.
    """

    params: list[Tensor] = field(default_factory=list)
    grads: list[Tensor] = field(default_factory=list)
    steps: list[Tensor] = field(default_factory=list)
    moved: list[Tensor] = field(default_factory=list)
    starts: list[Tensor] = field(default_factory=list)
    grown: list[Tensor] = field(default_factory=list)
    moments: list[list[Tensor]] = field(default_factory=list)


class ParameterFree(Optimizer):
    """The base of the two optimizers. `group["eta"]` is the step size found so far, 0-d."""

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self._sum = ShardedSum()
        super().__init__(cast("Any", params), defaults)

    @abstractmethod
    def _moment_names(self, group: Group) -> tuple[str, ...]:
        """The names of the buffers of a parameter's size, in the order `_update` expects."""

    @abstractmethod
    def _update(
        self,
        group: Group,
        x: list[Tensor],
        g: list[Tensor],
        moments: Sequence[list[Tensor]],
        count: Count,
        eta: float | Tensor,
    ) -> None:
        """Change `x` and `moments` in place; eta is a number on the host or a 0-d tensor."""

    def _update_fused(
        self, group: Group, lists: list[list[Tensor]], count: float, eta: float | Tensor
    ) -> bool:
        """Do the same by one of torch's kernels; False where there is none for this group."""
        return False

    # -- groups and their eta ----------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its parameters start where they are when their first gradient comes.

        With scope "global" the new group takes part in the common eta from then on.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            check_group(group)
            check_scope(self.param_groups)
        except ValueError:
            self.param_groups.pop()
            raise
        eta0 = group["eta0"]
        device = group["params"][0].device if group["params"] else torch.device("cpu")
        is_double = any(p.dtype in DOUBLE for p in group["params"])
        dtype = accumulator(device) if is_double else torch.float32
        group["eta"] = torch.tensor(eta0 or 0.0, dtype=dtype, device=device)
        group["has_begun"] = eta0 is not None
        group["n_steps"] = torch.zeros((), device=device if group["capturable"] else "cpu")
        if group["scope"] == "global":
            self._share(group)

    def _share(self, group: Group) -> None:
        """One eta for all groups, the new one among them, as precise as the most precise asks."""
        first = self.param_groups[0]
        group["has_begun"] = first["has_begun"]
        eta = first["eta"]
        if not self.state:  # nobody has moved
            eta = torch.tensor(group["eta0"] or 0.0, dtype=torch.float64)
        is_double = any(found["eta"].dtype == torch.float64 for found in self.param_groups)
        for found in self.param_groups:
            device = found["eta"].device
            dtype = accumulator(device) if is_double else torch.float32
            found["eta"] = eta.to(device, dtype, copy=True)

    def _scopes(self) -> list[list[int]]:
        """Indices of the groups that share an eta."""
        indices = list(range(len(self.param_groups)))
        is_global = self.param_groups[0]["scope"] == "global"
        return [indices] if is_global else [[i] for i in indices]

    # -- the state of a parameter ------------------------------------------------------------------

    def _init_group(
        self,
        group: Group,
        params: list[Tensor],
        grads: list[Tensor],
        steps: list[Tensor],
        moved: list[Tensor],
        starts: list[Tensor],
        grown: list[Tensor],
        *moments: list[Tensor],
    ) -> bool:
        """Fill the lists, and let parameters enter; True when one of the group is a DTensor.

        The compiler runs this method as it is and traces what follows.
        """
        if group is self.param_groups[0]:
            self._enter()
        names = self._moment_names(group)
        for param in group["params"]:
            state = self.state.get(param)
            if not state:
                continue
            if "x0" in state:
                moved.append(param)
                starts.append(state["x0"])
            else:
                grown.append(param)
            if param.grad is not None:
                check_gradient(param, param.grad)
                params.append(param)
                grads.append(param.grad)
                steps.append(state["step"])
                for name, tensors in zip(names, moments, strict=True):
                    tensors.append(state[name])
        return any_sharded(group["params"])

    def _enter(self) -> None:
        """Make the state of parameters that have their first gradient, and eta0 where it is due."""
        for group in self.param_groups:
            new = [p for p in group["params"] if p.grad is not None and not self.state.get(p)]
            for param in new:
                check_gradient(param, cast("Tensor", param.grad))
            for param, is_zero in zip(new, _are_zero(new), strict=True):
                self.state[param] = self._fresh(group, param, is_zero)
        for scope in self._scopes():
            if not self.param_groups[scope[0]]["has_begun"]:
                self._begin([self.param_groups[i] for i in scope])

    def _fresh(self, group: Group, param: Tensor, is_zero: bool) -> dict[str, Tensor]:
        dtype = torch.float32 if param.dtype in HALF else param.dtype
        device = param.device if group["capturable"] else torch.device("cpu")
        state = {"step": torch.zeros((), dtype=torch.float32, device=device)}
        if not is_zero:
            stride = group["x0_stride"]
            start = param.detach()
            if stride > 1:
                (start,) = (sample(x, stride) for x in _plain([start]))
            state["x0"] = start.to(torch.promote_types(start.dtype, torch.float32), copy=True)
        for name in self._moment_names(group):
            state[name] = torch.zeros_like(param, dtype=dtype, memory_format=torch.preserve_format)
        return state

    def _begin(self, groups: list[Group]) -> None:
        """eta0 of a scope from the norm of the parameters that have entered."""
        terms: list[_Term] = []
        for param in (p for group in groups for p in group["params"] if self.state.get(p)):
            values = _plain([param.detach()])
            squared = squared_distance([], [], values).to(self._home())
            terms.append((reach(param), squared, values[0].numel()))
        (total,) = self._over_ranks([terms])
        squared_norm, n_coordinates = (value.item() for value in total)
        if n_coordinates:
            eta0 = default_eta0(squared_norm**0.5, n_coordinates)
            for group in groups:
                group["eta"].fill_(eta0)
                group["has_begun"] = True

    def _all_params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]

    def _home(self) -> torch.device:
        """Where sums over all parameters are taken."""
        return cast("Tensor", self.param_groups[0]["eta"]).device

    # -- one step ----------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Measure eta, then update; returns the loss of `closure` where one is given.

        Raises RuntimeError for a sparse gradient, and when a CUDA graph is recorded with
        capturable=False.
        """
        self._refuse_capture()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found = []
        has_shards = False
        for group in self.param_groups:
            moments: list[list[Tensor]] = [[] for _ in self._moment_names(group)]
            members = _Members([], [], [], [], [], [], moments)
            has_shards |= self._init_group(
                group,
                members.params,
                members.grads,
                members.steps,
                members.moved,
                members.starts,
                members.grown,
                *moments,
            )
            found.append(members)
        self._measure(found, has_shards)
        for group, members in zip(self.param_groups, found, strict=True):
            self._apply(group, members)
        return loss

    def _refuse_capture(self) -> None:
        if torch.compiler.is_compiling() or all(g["capturable"] for g in self.param_groups):
            return
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("capturable=False: a CUDA graph is recorded; pass capturable=True")

    def _measure(self, found: list[_Members], has_shards: bool) -> None:
        """eta of every scope, from where its parameters are now."""
        scopes = self._scopes()
        parts = [
            []
            if self._is_frozen(self.param_groups[scope[0]])
            else [part for i in scope for part in self._distances(i, found[i], has_shards)]
            for scope in scopes
        ]
        totals: Sequence[tuple[Tensor, float | Tensor] | None]
        totals = self._over_ranks(parts) if has_shards else [_added(terms) for terms in parts]
        for scope, total in zip(scopes, totals, strict=True):
            first = self.param_groups[scope[0]]
            if total is not None and not self._is_frozen(first):
                eta = next_eta(first["eta"], *total, first["growth_rate"])
                if first["capturable"] and first["freeze_after"] is not None:
                    is_open = first["n_steps"] < first["freeze_after"]
                    eta = torch.where(is_open, eta, first["eta"])
                for i in scope:
                    self.param_groups[i]["eta"].copy_(eta)
        for group in self.param_groups:
            group["n_steps"].add_(1.0)

    def _distances(self, i: int, members: _Members, has_shards: bool) -> list[_Term]:
        """Squared distance and number of coordinates of group i, by where parameters lie."""
        stride, home = self.param_groups[i]["x0_stride"], self._home()
        terms = []
        for (place, device), part in _places(members, has_shards).items():
            starts = _plain(part.starts)
            moved = [sample(x, stride) for x in _plain(part.moved)]
            grown = [sample(x, stride) for x in _plain(part.grown)]
            squared = squared_distance(moved, starts, grown)
            if device != home:
                squared = squared.to(home, non_blocking=True)
            terms.append((place, squared, sum(x.numel() for x in [*moved, *grown])))
        return terms

    def _over_ranks(self, parts: Sequence[Sequence[_Term]]) -> list[tuple[Tensor, Tensor]]:
        """(squared distance, number of coordinates) of every scope, over all ranks at once."""
        home = self._home()
        blank = torch.zeros(len(parts), 2, dtype=accumulator(home), device=home)
        sums: dict[Reach | None, Tensor] = {None: blank}
        for row, terms in enumerate(parts):
            for place, squared, n_coordinates in terms:
                values = sums.setdefault(place, torch.zeros_like(blank))
                values[row, 0] += squared
                values[row, 1] += n_coordinates
        total = self._sum(self._all_params(), sums)
        return [(row[0], row[1]) for row in total.unbind()]

    def _is_frozen(self, group: Group) -> bool:
        """Whether the host knows that eta no longer changes."""
        if group["freeze_after"] is None or group["capturable"]:
            return False
        return bool(group["n_steps"] >= group["freeze_after"])

    def _apply(self, group: Group, members: _Members) -> None:
        """Update the parameters that have a gradient, bucket by bucket."""
        if not members.params:
            return
        torch._foreach_add_(members.steps, 1.0)
        x, g = _plain(members.params), _plain(members.grads)
        moments = [_plain(tensors) for tensors in members.moments]
        on_device = group["capturable"]
        counts: list[Any] = members.steps if on_device else torch.stack(members.steps).tolist()
        for device, count, chosen in _buckets(x, None if on_device else counts):
            eta = group["eta"] if on_device or device.type != "cpu" else group["eta"].item()
            if isinstance(eta, Tensor):
                eta = eta.to(device, non_blocking=True)
            lists = [x, g, *moments]
            if len(chosen) < len(x):
                lists = [[tensors[i] for i in chosen] for tensors in lists]
            shared: Count = count
            if on_device:
                shared = torch.stack([counts[i] for i in chosen]).to(accumulator(device))
            self._apply_bucket(group, lists, shared, eta)

    def _apply_bucket(
        self, group: Group, lists: list[list[Tensor]], count: Count, eta: float | Tensor
    ) -> None:
        """Cut a bucket into batches; half precision goes through float32."""
        may_fuse = group["foreach"] is None and isinstance(count, float)
        if may_fuse and self._update_fused(group, lists, cast("float", count), eta):
            return
        parts: Iterable[list[list[Tensor]]]
        counts: Iterable[Count] = itertools.repeat(count)
        if group["foreach"] is False:
            parts = ([[t] for t in row] for row in zip(*lists, strict=True))
            if isinstance(count, Tensor):
                counts = torch.split(count, 1)
        else:
            # Counters on the device belong to whole tensors, so those lists stay whole.
            parts = [lists] if isinstance(count, Tensor) else batches(lists)
        for (x, g, *moments), part in zip(parts, counts, strict=False):
            is_half = x[0].dtype in HALF
            x32 = [t.float() for t in x] if is_half else x
            g32 = [t.float() for t in g] if is_half else g
            if group["maximize"]:
                g32 = list(torch._foreach_neg(g32))
            if group["weight_decay"]:
                torch._foreach_mul_(x32, 1.0 - group["lr"] * eta * group["weight_decay"])
            self._update(group, x32, g32, moments, part, eta)
            if is_half:
                torch._foreach_copy_(x, x32)

    # -- checkpoints -------------------------------------------------------------------------------

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state in the precision it was saved in.

        torch.optim casts state to the dtype of the parameters, which would round the float32
        start points and moments of half-precision parameters.
        """
        held: dict[str, Any] = {}

        def hold(_: Optimizer, final: dict[str, Any]) -> None:
            held.update(final)

        handle = self.register_load_state_dict_pre_hook(hold)  # after the caller's own hooks
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
        for group, saved_group in zip(self.param_groups, held["param_groups"], strict=True):
            for param, index in zip(group["params"], saved_group["params"], strict=True):
                for name, value in held["state"].get(index, {}).items():
                    if isinstance(value, Tensor) and name != "step":
                        self.state[param][name] = value.to(param.device)
            device = group["params"][0].device if group["params"] else torch.device("cpu")
            group["eta"] = group["eta"].to(device)
            group["n_steps"] = group["n_steps"].to(device if group["capturable"] else "cpu")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("_sum", ShardedSum())


def _are_zero(params: list[Tensor]) -> list[bool]:
    """Which parameters are all zero and need no start point; one wait for a device.

    Shards always keep theirs, for the ranks must agree on what a state holds.
    """
    asked = [i for i, p in enumerate(params) if not is_sharded(p)]
    if not asked:
        return [False] * len(params)
    home = params[asked[0]].device
    any_of = torch.stack([params[i].detach().any().to(home) for i in asked]).tolist()
    is_zero = dict(zip(asked, (not found for found in any_of), strict=True))
    return [is_zero.get(i, False) for i in range(len(params))]


def _buckets(
    x: list[Tensor], counts: list[float] | None
) -> list[tuple[torch.device, Any, list[int]]]:
    """(device, number of updates, indices) of tensors of one dtype that one call can update."""
    found: dict[Any, list[int]] = {}
    for i, tensor in enumerate(x):
        key = (tensor.device, tensor.dtype, None if counts is None else counts[i])
        found.setdefault(key, []).append(i)
    return [(device, count, chosen) for (device, _, count), chosen in found.items()]


def _plain(tensors: Sequence[Tensor]) -> list[Tensor]:
    """What this rank holds of `tensors`, complex numbers as pairs; views."""
    here = [local(t) for t in tensors] if any_sharded(tensors) else list(tensors)
    return [torch.view_as_real(t) if t.is_complex() else t for t in here]


def _added(terms: Sequence[_Term]) -> tuple[Tensor, float] | None:
    """The sum of terms that lie on this rank; None for no terms."""
    if not terms:
        return None
    squared = terms[0][1]
    for _, other, _ in terms[1:]:
        squared = squared + other
    return squared, sum(n for _, _, n in terms)


def _places(
    members: _Members, has_shards: bool
) -> dict[tuple[Reach | None, torch.device], _Members]:
    """The parameters that entered, by where they lie."""
    devices = {param.device for tensors in (members.moved, members.grown) for param in tensors}
    if not has_shards and len(devices) == 1:
        return {(None, devices.pop()): members}
    found: dict[tuple[Reach | None, torch.device], _Members] = {}

    def part(param: Tensor) -> _Members:
        key = (reach(param) if has_shards else None, param.device)
        return found.setdefault(key, _Members())

    for param, start in zip(members.moved, members.starts, strict=True):
        part(param).moved.append(param)
        part(param).starts.append(start)
    for param in members.grown:
        part(param).grown.append(param)
    return found
