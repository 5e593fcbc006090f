"""Rivals of the paper's network: a linear and an MLP read-out of the flattened table.

Both read the n d numbers of an instance side by side and answer with k eigenvalues or k vectors,
under the loss of the network and on instances of the same prior.
Axes: b tasks, n points, d features, k components.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statformer.objectives.eigenpairs import eigenvalue_loss, eigenvector_loss
from statformer.tasks.eigenpairs import EigenBatch
from statformer.tasks.spiked_covariance import PaperGaussianPrior
from statformer.tasks.stream import TaskStream

LINEAR, MLP = "linear read-out", "MLP read-out"
TARGETS = ("values", "vectors")
WIDTH, BATCH = 512, 256
RATE = {LINEAR: 3e-3, MLP: 1e-3}
SEED = 3_000_003
RESTS = 0.02  # a loss that fell by less in the last fifth at the full rate has converged


@dataclass(frozen=True)
class ReadOut:
    """A trained read-out.

    instances  how many it saw
    minutes    of its training, with those that were trained beside it on the same instances
    fell       by which share its loss fell between the third and the fourth fifth of the training
    """

    module: nn.Module
    instances: int
    minutes: float
    fell: float

    @property
    def is_converged(self) -> bool:
        """Whether more steps at that rate would have changed little."""
        return self.fell < RESTS


def train_read_outs(
    n_points: int,
    n_features: int,
    n_components: int,
    n_steps: int,
    callback: Callable[[int], None],
) -> dict[tuple[str, str], ReadOut]:
    """Read-outs by (name, target), trained side by side on `n_steps` batches of 256 instances.

    Adam at 1e-3 (linear: 3e-3), falling to zero over the last fifth of the steps.
    """
    generator = torch.Generator().manual_seed(SEED)
    modules = {
        (name, target): _module(name, target, n_points, n_features, n_components, generator)
        for name in (LINEAR, MLP)
        for target in TARGETS
    }
    optimizers = {
        key: torch.optim.Adam(module.parameters(), lr=RATE[key[0]])
        for key, module in modules.items()
    }
    prior = PaperGaussianPrior(n_points, n_features)
    sums = {key: [0.0] * 5 for key in modules}
    begin = time.perf_counter()
    for step in range(n_steps):
        with torch.no_grad():
            batch = prior.sample(TaskStream(SEED, step, range(BATCH)))
        factor = min(1.0, 5.0 * (1.0 - step / n_steps))
        for key, module in modules.items():
            name, target = key
            for group in optimizers[key].param_groups:
                group["lr"] = factor * RATE[name]
            loss = loss_of(target, module(batch.X), batch)
            optimizers[key].zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizers[key].step()
            sums[key][5 * step // n_steps] += loss.item()
        callback(step)
    minutes = (time.perf_counter() - begin) / 60.0
    return {
        key: ReadOut(
            module.eval().requires_grad_(False),
            n_steps * BATCH,
            minutes,
            1.0 - sums[key][3] / max(sums[key][2], 1e-300),
        )
        for key, module in modules.items()
    }


def loss_of(target: str, answer: Tensor, batch: EigenBatch) -> Float[Tensor, ""]:
    """The loss of the paper's network with that target."""
    k = answer.shape[1]
    if target == "values":
        return eigenvalue_loss(answer, batch.eigenvalues[:, :k]).mean()
    return eigenvector_loss(answer, batch.eigenvectors[:, :k]).mean()


def _module(
    name: str,
    target: str,
    n_points: int,
    n_features: int,
    n_components: int,
    generator: torch.Generator,
) -> nn.Module:
    n_inputs = n_points * n_features
    answer = (n_components,) if target == "values" else (n_components, n_features)
    widths = [n_inputs, *([WIDTH, WIDTH] if name == MLP else [])]
    n_outputs = n_components * (n_features if target == "vectors" else 1)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [_linear(before, after, generator), nn.ReLU()]
    layers += [_linear(widths[-1], n_outputs, generator), nn.Unflatten(1, answer)]
    return nn.Sequential(*layers)


def _linear(n_inputs: int, n_outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(n_inputs, n_outputs, device="meta").to_empty(device="cpu")  # draws nothing
    with torch.no_grad():
        layer.weight.normal_(0.0, n_inputs**-0.5, generator=generator)
        layer.bias.zero_()
    return layer
