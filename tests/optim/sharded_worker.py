"""One rank of a distributed run: `python -m optim.sharded_worker OUT_DIR SCENARIO...`.

A scenario trains on this rank's shards and says what it found: full parameters, etas, and the
collectives of every step. The tests compare that with `alone`, the same training in one process.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

from optim.forms import CASES, FAST, normal

Found = dict[str, Any]
N_STEPS = 25


# -- the problem ----------------------------------------------------------------------------------


def network() -> nn.Sequential:
    """Rows that do not divide by two, a layer of one row, and biases that start at zero."""
    linear = [
        nn.utils.skip_init(nn.Linear, *ends, dtype=torch.float64) for ends in ((5, 3), (3, 1))
    ]
    layers = nn.Sequential(linear[0], nn.Tanh(), linear[1])
    with torch.no_grad():
        for seed, p in enumerate(layers.parameters()):
            p.copy_(normal(p.shape, seed) if p.ndim == 2 else torch.zeros_like(p))
    return layers


def data() -> tuple[Tensor, Tensor]:
    X = normal((8, 5), 10)
    return X, X @ normal((5, 1), 11)


def optimizer_for(model: nn.Module, case: str = "ema", **options: Any) -> Any:
    algorithm, own = CASES[case]
    by_size = [[p for p in model.parameters() if (p.ndim == 2) == wide] for wide in (True, False)]
    groups = [{"params": by_size[0]}, {"params": by_size[1], "lr": 0.5}]
    return FAST[algorithm](groups, **{"eta0": 1e-2, "weight_decay": 0.01, **own, **options})


def train(model: nn.Module, optimizer: Any, share: slice, n_steps: int = N_STEPS) -> list[float]:
    X, y = data()
    etas = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X[share]), y[share]).backward()
        optimizer.step()
        etas.append([float(group["eta"]) for group in optimizer.param_groups])
    return etas


def alone(case: str = "ema", **options: Any) -> Found:
    model = network()
    etas = train(model, optimizer_for(model, case, **options), slice(None))
    return {"params": full(model.parameters()), "etas": etas}


def full(params: Iterable[Tensor]) -> list[Tensor]:
    """What all ranks hold together, on every rank."""
    return [(p.full_tensor() if isinstance(p, DTensor) else p).detach().clone() for p in params]


def my_share() -> slice:
    n = 8 // dist.get_world_size()
    return slice(dist.get_rank() * n, (dist.get_rank() + 1) * n)


def collectives(step: Callable[[], Any]) -> dict[str, int]:
    """How often a step calls each collective."""
    with CommDebugMode() as mode:
        step()
    return {str(name): n for name, n in mode.get_comm_counts().items()}


# -- scenarios ------------------------------------------------------------------------------------


def ddp() -> Found:
    model = nn.parallel.DistributedDataParallel(network())
    optimizer = optimizer_for(model)
    etas = train(model, optimizer, my_share())
    return {
        "params": full(model.parameters()),
        "etas": etas,
        "collectives": collectives(optimizer.step),
    }


def sharded(model: nn.Module, *shape: int) -> nn.Module:
    """Every layer over the last dimension of a mesh of this shape, copied over the others."""
    names = ("copies", "shards")[-len(shape) :]
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    return model


def fsdp(case: str, shape: tuple[int, ...], **options: Any) -> Found:
    model = sharded(network(), *shape)
    optimizer = optimizer_for(model, case, **options)
    etas = train(model, optimizer, my_share())
    return {
        "params": full(model.parameters()),
        "etas": etas,
        "sizes": [p.to_local().numel() for p in model.parameters()],
        "collectives": collectives(optimizer.step),
    }


def by_hand(tensors: list[Tensor], placements: list[Any], shape: tuple[int, ...]) -> Found:
    """Gradients typed in; a rank that holds nothing of a tensor has no gradient for it."""
    mesh = init_device_mesh("cpu", shape)
    params: list[Tensor] = []
    for tensor, placement in zip(tensors, placements, strict=True):
        p = tensor.clone() if placement is None else distribute_tensor(tensor, mesh, placement)
        params.append(p.detach().requires_grad_())
    optimizer = FAST["AdamPP"](params, eta0=1e-2, weight_decay=0.01)
    etas, n_gradients = [], 0
    for step in range(N_STEPS):
        for index, (p, placement) in enumerate(zip(params, placements, strict=True)):
            g = typed_gradient(tensors[index], index, step)
            if g is not None and isinstance(p, DTensor):
                g = distribute_tensor(g, mesh, placement)
                g = g if p.to_local().numel() else None
            p.grad = g
            n_gradients += g is not None
        optimizer.step()
        etas.append([float(group["eta"]) for group in optimizer.param_groups])
    return {
        "params": full(params),
        "etas": etas,
        "n_gradients": n_gradients,
        "collectives": collectives(optimizer.step),
    }


def typed_gradient(tensor: Tensor, index: int, step: int) -> Tensor | None:
    if (step + index) % 4 == 0:
        return None
    return normal(tensor.shape, 50 + index) + normal(tensor.shape, 1000 + 10 * step + index)


def alone_by_hand(tensors: list[Tensor]) -> Found:
    params = [tensor.clone().requires_grad_() for tensor in tensors]
    optimizer = FAST["AdamPP"](params, eta0=1e-2, weight_decay=0.01)
    etas = []
    for step in range(N_STEPS):
        for index, p in enumerate(params):
            p.grad = typed_gradient(tensors[index], index, step)
        optimizer.step()
        etas.append([float(group["eta"]) for group in optimizer.param_groups])
    return {"params": full(params), "etas": etas}


SINGLE_ROWS = [normal((1, 4), 1), normal((1,), 2)]
MANY = [normal((3, 4), seed) for seed in range(4)] + [normal((5,), 9), normal((1, 2), 10)]


def replicated() -> Found:
    """Copies on every rank beside shards and plain tensors: each coordinate counts once."""
    placements = [[Replicate()], [Shard(0)], None, [Shard(1)], [Replicate()], [Shard(0)]]
    return by_hand(MANY, placements, (2,))


def two_axes() -> Found:
    placements = [
        [Replicate(), Shard(0)],
        [Shard(0), Replicate()],
        [Shard(0), Shard(1)],
        [Replicate(), Replicate()],
        None,
        [Shard(1), Shard(0)],
    ]
    return by_hand(MANY, placements, (2, 2))


def checkpointed(*, whole: bool) -> Found:
    """Ten steps, a state through torch's own checkpoint functions, and fifteen steps more."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        get_optimizer_state_dict,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    ask = StateDictOptions(full_state_dict=whole, cpu_offload=whole)
    model = sharded(network(), 2)
    optimizer = optimizer_for(model)
    train(model, optimizer, my_share(), 10)
    weights = copy.deepcopy(get_model_state_dict(model, options=ask))
    state = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=ask))
    if whole:  # rank 0 has all of it, the others nothing
        boxes = [[weights, state]]
        dist.broadcast_object_list(boxes, src=0)
        weights, state = boxes[0]
    train(model, optimizer, my_share(), 15)

    other = sharded(network(), 2)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.5)  # what is loaded has to replace this
    resumed = optimizer_for(other)
    ask = StateDictOptions(full_state_dict=whole)
    set_model_state_dict(other, weights, options=ask)
    set_optimizer_state_dict(other, resumed, state, options=ask)
    etas = train(other, resumed, my_share(), 15)
    return {
        "params": full(other.parameters()),
        "etas": etas,
        "went_on": full(model.parameters()),
        "eta_went_on": [float(group["eta"]) for group in optimizer.param_groups],
    }


OF_TWO_RANKS: dict[str, Callable[[], Found]] = {
    "ddp": ddp,
    "fsdp": lambda: fsdp("ema", (2,)),
    "fsdp AdaGrad++": lambda: fsdp("AdaGrad++", (2,)),
    "fsdp per group": lambda: fsdp("ema_max", (2,), scope="group"),
    "fsdp without eta0": lambda: fsdp("ema", (2,), eta0=None),
    "fsdp capturable": lambda: fsdp("ema", (2,), capturable=True, foreach=True),
    "rank without shards": lambda: by_hand(SINGLE_ROWS, [[Shard(0)], [Shard(0)]], (2,)),
    "replicated": replicated,
    "checkpoint": lambda: checkpointed(whole=False),
    "whole checkpoint": lambda: checkpointed(whole=True),
}
OF_FOUR_RANKS: dict[str, Callable[[], Found]] = {
    "hsdp": lambda: fsdp("ema", (2, 2)),
    "two axes": two_axes,
}
SCENARIOS = OF_TWO_RANKS | OF_FOUR_RANKS


def main(out_dir: str, *scenarios: str) -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    found = {}
    for scenario in scenarios:
        sys.stderr.write(f"{scenario}\n")
        found[scenario] = SCENARIOS[scenario]()
        dist.barrier()
    torch.save(found, Path(out_dir) / f"{dist.get_rank()}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
