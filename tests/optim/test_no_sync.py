"""No value travels from the device to the host during a step, shown without a device.

Parameters on torch's "meta" device have no values at all: an operation that asks for one fails. The
counters of steps may live on the host, unless the optimizer is capturable. A second proof on real
numbers refuses every operation that reads one. The first step may look: it finds the tensors that
start at zero.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from optim.forms import CASES, FAST, copies, normal

aten = torch.ops.aten
READS = {
    aten._local_scalar_dense,
    aten.item,
    aten.is_nonzero,
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten.unique_dim,
    aten._unique2,
    aten.bincount,
    aten.repeat_interleave,
}
MASK_INDEX = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class HostReadError(AssertionError):
    """An operation that has to wait for the device."""


class NoHostReads(TorchDispatchMode):
    """Refuse operations whose result, or its shape, depends on values on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.n_operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n_operations += 1
        packet = func.overloadpacket
        if packet in READS:
            raise HostReadError(f"{func} waits for the device")
        if packet in MASK_INDEX and any(i is not None and i.dtype == torch.bool for i in args[1]):
            raise HostReadError(f"{func} with a mask waits for the device")
        return func(*args, **(kwargs or {}))


def started(case: str, dtype: torch.dtype, **options: Any) -> tuple[Any, list[torch.Tensor]]:
    """An optimizer after its first step."""
    tensors = [normal((3, 4), 1, dtype), torch.zeros(3, dtype=dtype), normal((), 2, dtype)]
    optimizer, params = made(case, copies(tensors), **options)
    optimizer.step()
    return optimizer, params


def made(
    case: str, params: list[torch.Tensor], **options: Any
) -> tuple[torch.optim.Optimizer, list[torch.Tensor]]:
    algorithm, own = CASES[case]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.5}]
    common = {"eta0": 1e-3, "weight_decay": 0.1, "growth_rate": 2.0}
    for p in params:
        p.grad = torch.ones_like(p)
    return FAST[algorithm](groups, **{**common, **own, **options}), params


def moved_to_meta(optimizer: Any, params: list[torch.Tensor], case: str, **options: Any) -> Any:
    """The same optimizer on a device whose numbers nobody can read."""
    there = [p.detach().to("meta").requires_grad_() for p in params]
    other, _ = made(case, there, **options)
    on_host = set() if options["capturable"] else {"step"}
    for p, q in zip(params, there, strict=True):
        state = optimizer.state[p].items()
        other.state[q].update({k: v if k in on_host else v.to("meta") for k, v in state})
    return other


EVERY_PATH = [
    {"foreach": foreach, "capturable": capturable, "scope": scope, "freeze_after": freeze_after}
    for foreach in (None, False, True)
    for capturable in (False, True)
    for scope, freeze_after in (("global", None), ("group", 3))
]
DTYPES = [torch.float32, torch.bfloat16, torch.complex64]


@pytest.mark.parametrize("path", EVERY_PATH, ids=str)
@pytest.mark.parametrize(
    ("case", "dtype"),
    [*((case, torch.float32) for case in CASES), *(("ema", dtype) for dtype in DTYPES[1:])],
)
def test_a_step_asks_for_no_value(case, dtype, path):
    optimizer, params = started(case, dtype, **path)
    other = moved_to_meta(optimizer, params, case, **path)
    for _ in range(4):
        other.step()
    assert all(group["eta"].is_meta for group in other.param_groups)


@pytest.mark.parametrize("foreach", [None, False, True])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_rate_in_a_tensor_is_not_read(device, foreach):
    path = {"foreach": foreach, "capturable": device == "meta"}
    optimizer, params = started("ema", torch.float32, **path)
    other = moved_to_meta(optimizer, params, "ema", **path)
    for group in other.param_groups:
        group["lr"] = torch.tensor(0.5, device=device)
    other.step()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", ["AdaGrad++", "ema", "ema_max literal"])
def test_a_capturable_step_reads_no_number(case, dtype):
    optimizer, _ = started(case, dtype, foreach=True, capturable=True, freeze_after=3)
    with NoHostReads() as mode:
        for _ in range(4):
            optimizer.step()
    assert mode.n_operations > 20


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.max()),
        lambda x: bool((x > 0).all()),
        torch.nonzero,
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
    ],
)
def test_a_read_is_noticed(read):
    x = normal((3,), 1)
    with pytest.raises(HostReadError, match="waits for the device"), NoHostReads():
        read(x)


def test_the_buffers_of_a_step_stay_where_they_are():
    """What a captured graph needs: the same addresses before and after a step."""
    for case in CASES:
        optimizer, params = started(case, torch.float32, foreach=True, capturable=True)

        def addresses(optimizer=optimizer, params=params) -> list[int]:
            states = [v for p in params for v in optimizer.state[p].values()]
            etas = [group["eta"] for group in optimizer.param_groups]
            return [t.data_ptr() for t in [*params, *states, *etas]]

        before = addresses()
        etas = [float(group["eta"]) for group in optimizer.param_groups]
        for _ in range(30):
            optimizer.step()
        assert addresses() == before
        assert float(optimizer.param_groups[0]["eta"]) > etas[0]
