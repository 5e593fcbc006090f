"""Which weights a principal component estimator was asked for, as the arrays of its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.constructions.principal import principal_weights
from statformer.estimators.base import CONSTRUCTED
from statformer.nn.principal import FORMS, Form, PrincipalNetwork
from statformer.weights import WeightsError, load_weights

SHIPPED = "principal"


@dataclass(frozen=True)
class PrincipalCheckpoint:
    """A network that weighs rows, or rows and cells; `is_constructed`: every weight is 1."""

    network: PrincipalNetwork
    form: Form
    sha256: str

    @property
    def is_constructed(self) -> bool:
        """True for the theorem's parameters."""
        return self.sha256 == CONSTRUCTED


def resolve_principal(weights: Any, robust: Any) -> PrincipalCheckpoint:
    """The network that `weights` names ("pretrained", "constructed" or a path), in form `robust`.

    Raises TypeError or ValueError for other arguments, and what `load_weights` raises.
    """
    if robust not in FORMS:
        raise ValueError(f"robust={robust!r} should be 'rows' or 'cells'")
    if not isinstance(weights, (str, Path)):
        raise TypeError(
            f"weights={weights!r} should be 'pretrained', 'constructed' or the path of a "
            ".safetensors file"
        )
    if weights == CONSTRUCTED:
        return PrincipalCheckpoint(_network(principal_weights(robust), robust), robust, CONSTRUCTED)
    arrays, card = load_weights(SHIPPED if weights == "pretrained" else weights)
    part = {
        key.removeprefix(f"{robust}."): value
        for key, value in arrays.items()
        if key.startswith(f"{robust}.")
    }
    try:
        network = _network(part, robust)
    except ValueError as error:
        raise WeightsError(f"weights={str(weights)!r}: {error}") from None
    return PrincipalCheckpoint(network, robust, card["sha256"])


def _network(arrays: Mapping[str, Float[np.ndarray, "..."]], form: Form) -> PrincipalNetwork:
    return PrincipalNetwork(arrays, form)
