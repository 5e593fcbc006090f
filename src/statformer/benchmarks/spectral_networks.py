"""(b) Networks trained as in the paper: errors per component, on Gaussians and on images.

A cell holds every trained network of one target and one size (D, N, k), and on the same instances
the power method with as many steps per component as a network has layers, and a linear and an MLP
read-out. Networks are looked for in a folder: `eigen_<target>_<name>/`.

Axes: b tasks, n points (N), d features (D), k components.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from statformer.benchmarks.settings import Progress
from statformer.benchmarks.spectral_settings import Bench
from statformer.reference.power_iteration import covariance, power_iteration

if TYPE_CHECKING:
    from statformer.benchmarks.spectral_read_outs import ReadOut
    from statformer.nn.eigen_transformer import EigenTransformer
    from statformer.tasks.eigenpairs import EigenBatch

GAUSSIANS, IMAGES = "Gaussians", "images"
SPLITS = {"digits 0-4": range(5), "digits 5-9": range(5, 10)}
SPLITS |= {"even digits": range(0, 10, 2), "odd digits": range(1, 10, 2)}
SPLITS |= {f"digit {digit}": range(digit, digit + 1) for digit in range(10)}
POWER = "power method, {} steps"
SEED = 4_000_004
TARGETS = ("values", "vectors")

Size = tuple[int, int, int]  # D, N, k
Array = np.ndarray


@dataclass(frozen=True)
class Network:
    """A trained network and where it is from."""

    name: str
    sha256: str
    module: EigenTransformer

    @property
    def size(self) -> Size:
        """D, N, k."""
        return self.module.n_features, self.module.n_points, self.module.n_components

    def about(self, folder: Path) -> dict[str, Any]:
        """For the record."""
        card = json.loads((folder / self.name / "card.json").read_bytes())
        return {
            "sha256": self.sha256,
            "layers": self.module.n_layers,
            "attention": self.module.attention,
            "auxiliary": self.module.auxiliary,
            "width": card["settings"]["width"],
            "steps": card["n_steps"],
            "instances": card["n_steps"] * card["batch_size"],
            "minutes": round(card["seconds"] / 60.0, 1),
            "device": card["device"],
        }


def trained(folder: Path) -> list[Network]:
    """Every network of a folder, by name."""
    from statformer.pretraining.recipes.eigen_transformer import load_eigen_transformer

    paths = sorted(folder.glob("eigen_*/final.safetensors"))
    return [
        Network(
            path.parent.name,
            hashlib.sha256(path.read_bytes()).hexdigest(),
            load_eigen_transformer(path),
        )
        for path in paths
    ]


def run(bench: Bench) -> None:
    """Measure every size whose networks are other than those of the record."""
    networks = trained(bench.networks)
    if not networks:
        bench.record.put("b: none", {"part": "b", "missing": f"{bench.networks}: no eigen_*"})
        return
    bench.record.cells.pop("b: none", None)
    read_outs: dict[Size, Any] = {}
    for size in sorted({network.size for network in networks}):
        for target in TARGETS:
            mine = [n for n in networks if n.size == size and n.module.target == target]
            name = "{}, D {}, N {}, k {}".format(target, *size)
            key = f"b: {name}"
            digests = {network.name: network.sha256 for network in mine}
            if not mine or bench.record.cells.get(key, {}).get("digests") == digests:
                continue
            if size not in read_outs:
                read_outs[size] = _read_outs(bench, size)
            rivals = {n: one for (n, aim), one in read_outs[size].items() if aim == target}
            cell = measure(bench, mine, rivals, target)
            bench.record.put(key, {"part": "b", "target": target, "digests": digests, **cell})
            bench.callback(Progress("b", name, 1, 1))


def _read_outs(bench: Bench, size: Size) -> dict[tuple[str, str], ReadOut]:
    from statformer.benchmarks.spectral_read_outs import train_read_outs

    D, N, k = size
    steps = bench.sizes.read_out_steps
    name = f"read-outs, D {D}, N {N}, k {k}"
    return train_read_outs(
        N, D, k, steps, lambda step: bench.callback(Progress("b", name, step + 1, steps))
    )


def measure(
    bench: Bench,
    networks: Sequence[Network],
    rivals: Mapping[str, ReadOut],
    target: str,
) -> dict[str, Any]:
    """Scores of every method on every test set, per component."""
    import torch

    D, N, k = networks[0].size
    sets = instance_sets(bench, D, N)
    depths = sorted({network.module.n_layers for network in networks})
    found: dict[str, Any] = {}
    for i, (name, batch) in enumerate(sets.items()):
        rng = np.random.default_rng([SEED, i])
        starts = rng.standard_normal((len(batch.X), k, D))
        random = torch.from_numpy(starts).to(batch.X.dtype)
        with torch.no_grad():
            answers = {n.name: n.module(batch.X, random).double().numpy() for n in networks}
            answers |= {n: one.module(batch.X).double().numpy() for n, one in rivals.items()}
        for depth in depths:
            X = batch.X.double().numpy()
            answers[POWER.format(depth)] = by_power(X, starts, depth, target)
        truth = (batch.eigenvalues if target == "values" else batch.eigenvectors)[:, :k]
        found[name] = {
            method: scores(answer, truth.double().numpy(), target)
            for method, answer in answers.items()
        }
        found[name]["n"] = len(batch.X)
    return {
        "D": D,
        "N": N,
        "k": k,
        "networks": {network.name: network.about(bench.networks) for network in networks},
        "read-outs": {
            name: {"instances": r.instances, "minutes": r.minutes, "converged": r.is_converged}
            for name, r in rivals.items()
        },
        "scores": found,
    }


def instance_sets(bench: Bench, n_features: int, n_points: int) -> dict[str, EigenBatch]:
    """Instances of the prior and, where there are images, of all digits and of some."""
    from statformer.tasks.image_instances import ImageInstances, load_images
    from statformer.tasks.spiked_covariance import PaperGaussianPrior
    from statformer.tasks.stream import TaskStream

    n = bench.sizes.instances
    found = {
        GAUSSIANS: PaperGaussianPrior(n_points, n_features).sample(TaskStream(SEED, 0, range(n)))
    }
    if bench.image_file is None:
        return found
    pool = load_images(bench.image_file, n_features).test
    found[IMAGES] = ImageInstances(pool, n_points).sample(TaskStream(SEED, 1, range(n)))
    few = max(n // 4, 1)
    for i, (name, digits) in enumerate(SPLITS.items()):
        stream = TaskStream(SEED, 2 + i, range(few))
        found[name] = ImageInstances(pool.only(digits), n_points).sample(stream)
    return found


def by_power(
    X: Float[Array, "b n d"], starts: Float[Array, "b k d"], n_steps: int, target: str
) -> Array:
    """Eigenvalues "b k" or vectors "b k d" of the covariances after `n_steps` per component."""
    pairs = [
        power_iteration(covariance(one), start, n_steps)
        for one, start in zip(X, starts, strict=True)
    ]
    return np.stack([pair.values if target == "values" else pair.vectors for pair in pairs])


def scores(answer: Array, truth: Array, target: str) -> dict[str, Any]:
    """Per component: the paper's metric with its standard error, and its median.

    values   mean of ((l - l_hat) / l)^2; the median is that of |l - l_hat| / l
    vectors  mean of |cos|
    """
    if target == "values":
        relative = np.abs(truth - answer) / np.maximum(truth, 1e-8)
        metric, typical = relative**2, relative
    else:
        lengths = np.linalg.norm(answer, axis=-1) * np.linalg.norm(truth, axis=-1)
        metric = np.abs((answer * truth).sum(axis=-1)) / np.maximum(lengths, 1e-12)
        typical = metric
    return {
        "mean": _digits(metric.mean(axis=0)),
        "standard error": _digits(metric.std(axis=0) / np.sqrt(len(metric))),
        "median": _digits(np.median(typical, axis=0)),
    }


def _digits(values: Float[Array, " k"]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
