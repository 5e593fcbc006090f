"""What every estimator needs to agree on: which network, which random numbers, which warnings."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils import check_random_state

from statformer.nn.em_network import layer_shapes
from statformer.nn.judge import judge_shapes
from statformer.proposals.evidence import N_JUDGE_TABLE, N_TOKEN_FEATURES
from statformer.proposals.table_features import TABLE_FEATURES
from statformer.weights import WeightsError, load_weights

CONSTRUCTED = "constructed"


class EmptyClusterWarning(UserWarning):
    """A component owned no row at the end and was removed."""


class MissingValuesWarning(UserWarning):
    """Missing cells were filled."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights of the clusterer: empty when constructed.

    em     the layers
    judge  the judge of labelings, and P(K | X)
    depth  what the training tables looked like, by the full keys of `proposals.depth`
    """

    name: str
    em: Mapping[str, Float[np.ndarray, "..."]] = field(default_factory=dict)
    sha256: str = CONSTRUCTED
    judge: Mapping[str, Float[np.ndarray, "..."]] = field(default_factory=dict)
    depth: Mapping[str, Float[np.ndarray, "..."]] = field(default_factory=dict)

    @property
    def is_constructed(self) -> bool:
        """True for textbook EM, False for learned layers."""
        return not self.em


def resolve_weights(weights: Any) -> Checkpoint:
    """The network that `weights` names: "pretrained", "constructed", a name or a path.

    Raises TypeError, FileNotFoundError or WeightsError (see `load_weights`).
    """
    if not isinstance(weights, (str, Path)):
        raise TypeError(
            f"weights={weights!r} should be 'pretrained', 'constructed' or the path of a "
            ".safetensors file"
        )
    if weights == CONSTRUCTED:
        return Checkpoint(CONSTRUCTED)
    arrays, card = load_weights(weights)
    parts = {
        prefix: {k.removeprefix(f"{prefix}."): v for k, v in arrays.items() if k.startswith(prefix)}
        for prefix in ("em", "judge")
    }
    depth = {k: v for k, v in arrays.items() if k.startswith("depth.")}
    _check_shapes(str(weights), **parts)
    _check_depth(str(weights), depth)
    return Checkpoint(str(weights), **parts, depth=depth, sha256=card["sha256"])


def _check_shapes(name: str, em: Mapping[str, Any], judge: Mapping[str, Any]) -> None:
    """The names and shapes must be those of the networks; layers and widths are free."""
    n_hidden = em["W_hidden"].shape[-1] if "W_hidden" in em else 1
    expected: dict[str, tuple[int, ...]] = layer_shapes(len(em["b_cov"]), n_hidden)
    found = {key: value.shape for key, value in em.items()}
    if judge:
        h = judge["W_table"].shape[-1] if "W_table" in judge else 1
        shapes = judge_shapes(N_TOKEN_FEATURES, N_JUDGE_TABLE, h)
        expected |= {f"judge.{key}": shape for key, shape in shapes.items()}
        found |= {f"judge.{key}": value.shape for key, value in judge.items()}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise WeightsError(
                f"weights={name!r}: {key!r} should have shape {expected.get(key)}, found "
                f"{found.get(key)}; the file belongs to another network or another version"
            )


def _check_depth(name: str, depth: Mapping[str, Any]) -> None:
    """All parts or none, each of the shape that the number of features asks for."""
    if not depth:
        return
    f = len(TABLE_FEATURES)
    expected = {"depth.mean": (f,), "depth.scale": (f,), "depth.whiten": (f, f)}
    found = {key: value.shape for key, value in depth.items() if key != "depth.quantiles"}
    quantiles = depth.get("depth.quantiles", np.empty(0))
    ascends = quantiles.ndim == 1 and len(quantiles) > 1 and (np.diff(quantiles) >= 0).all()
    if found != expected or not ascends:
        raise WeightsError(
            f"weights={name!r}: depth.* should describe tables by {f} features and ascending "
            f"quantiles, found shapes {found}; the file belongs to another version"
        )


def as_generator(random_state: Any) -> np.random.Generator:
    """A numpy Generator: from an int, a RandomState, a Generator (used as it is) or None.

    None is fresh entropy; numpy's global random state is neither read nor moved.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None:
        return np.random.default_rng()
    if isinstance(random_state, numbers.Integral):
        if random_state < 0:
            raise ValueError(f"random_state={random_state!r} should not be negative")
        return np.random.default_rng(int(random_state))
    drawn = check_random_state(random_state).randint(2**31, size=4)
    return np.random.default_rng([int(part) for part in drawn])


def check_count(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int >= `least`; TypeError or ValueError names the argument and the remedy."""
    if not isinstance(value, numbers.Integral) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r} should be a whole number of at least {least}")
    if value < least:
        raise ValueError(f"{name}={value!r} should be at least {least}")
    return int(value)


def check_weights_of_rows(sample_weight: Any, n: int) -> Float[np.ndarray, " n"]:
    """Weights of the rows as float64; ones for None.

    Raises ValueError where they are not n finite numbers >= 0, or all 0.
    """
    if sample_weight is None:
        return np.ones(n)
    if isinstance(sample_weight, numbers.Number):
        sample_weight = np.full(n, sample_weight)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weight.ndim} dimensions")
    if weight.shape != (n,):
        raise ValueError(f"sample_weight.shape == {weight.shape}, expected {(n,)}!")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight should hold finite numbers of at least 0")
    if not weight.sum() > 0:
        raise ValueError("sample_weight is zero for every row; at least one must count")
    if not np.isfinite(weight.sum()):
        raise ValueError("sample_weight sums to infinity; divide it by a constant")
    return weight
