"""Runs of layers: many starts of several tables through one network, read after some layers.

Axes: b tables, r runs of a table, B = b r, n points, p features, c components.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Centres, Readout, Tables
from statformer.estimators.devices import Backend
from statformer.estimators.starts import ELEMENTS, NetworkOf, batches, one_hot, rows_of
from statformer.nn.em_network import EMNetwork, log_density


@dataclass(frozen=True)
class Batch:
    """One layer of every run of a block.

    centres, readout  leading axis (b r)
    density           "b r"    weighted mean of the log density
    labels            "b r n"
    top               "b r n"  the largest responsibility of each row
    robustness        "b r"    weighted mean of rho
    """

    centres: Centres
    readout: Readout
    density: Float[np.ndarray, "b r"]
    labels: Int[np.ndarray, "b r n"]
    top: Float[np.ndarray, "b r n"]
    robustness: Float[np.ndarray, "b r"]

    def of_runs(self, first: int, size: int) -> Batch:
        """Runs first, ..., first + size - 1 of every table."""
        b, r = self.density.shape
        runs = slice(first, first + size)
        index = (np.arange(b)[:, None] * r + np.arange(first, first + size)[None, :]).ravel()
        return Batch(
            self.centres[index],
            self.readout[index],
            self.density[:, runs],
            self.labels[:, runs],
            self.top[:, runs],
            self.robustness[:, runs],
        )


def run_layers(
    network_of: NetworkOf,
    tables: Tables,
    labels: Int[np.ndarray, "b r n"],
    n_components: int,
    layers: Sequence[int],
    on: Backend,
    is_single: bool,
) -> list[Batch]:
    """All runs through the network, read after each of `layers` (counted from 1)."""
    b, r, n = labels.shape
    p = tables.X.shape[2]
    parts: list[list[tuple[Any, ...]]] = [[] for _ in layers]
    order = []
    limit = max(ELEMENTS * (2 if is_single else 1), n * p * p // 4)
    for rows, runs in batches(b, r, n_components * p * n, limit):
        order.append((rows, runs))
        part = rows_of(tables, rows)
        read = None
        if is_single:
            read = _read(network_of, part, labels, rows, runs, n_components, layers, on, np.float32)
        if read is None:
            read = _read(network_of, part, labels, rows, runs, n_components, layers, on, np.float64)
        assert read is not None
        for place, one in enumerate(read):
            parts[place].append(one)
    return [Batch(*_joined(part, order, b, r)) for part in parts]


def _read(
    network_of: NetworkOf,
    part: Tables,
    labels: Int[np.ndarray, "b r n"],
    rows: slice,
    runs: slice,
    c: int,
    layers: Sequence[int],
    on: Backend,
    dtype: Any,
) -> list[tuple[Any, ...]] | None:
    """What each asked layer says; None where single precision was not enough."""
    n = labels.shape[2]
    network = network_of(len(part.X), runs)
    weights = on.put_all({k: v.astype(dtype) for k, v in network.weights.items()})
    network = EMNetwork(weights, n_loops=network.n_layers if network.is_looped else None)
    moved = on.put_record(replace(part, X=part.X.astype(dtype), weight=part.weight.astype(dtype)))
    start = on.put(one_hot(labels[rows, runs].reshape(-1, n), c).astype(dtype))
    record = "last" if list(layers) == [network.n_layers] else "all"
    found = []
    is_single = dtype is np.float32
    quiet = np.errstate(all="ignore") if is_single else nullcontext()
    try:
        with on.inference(), quiet:
            trace = network(moved, start, record=record)
            for layer in layers:
                at = -1 if record == "last" else layer - 1
                density = on.get(log_density(moved, trace.centres[at]))
                if is_single and not np.isfinite(density).all():
                    return None
                found.append(
                    summary(
                        on.get_record(trace.centres[at]),
                        on.get_record(trace.readouts[at]),
                        density,
                        on.get(trace.responsibilities[at]),
                        part.weight,
                    )
                )
    except (np.linalg.LinAlgError, RuntimeError):
        if is_single:
            return None
        raise
    return found


def summary(
    centres: Centres,
    readout: Readout,
    density: Float[np.ndarray, "B n"],
    r: Float[np.ndarray, "B n c"],
    weight: Float[np.ndarray, "b n"],
) -> tuple[Any, ...]:
    """The parts of a `Batch` for the runs of b tables, "b r" in front where it has that."""
    b, n = weight.shape
    share = weight / weight.sum(axis=1, keepdims=True)
    labels = r.argmax(axis=-1).astype(np.int16).reshape(b, -1, n)
    top = r.max(axis=-1).astype(np.float32).reshape(b, -1, n)
    robust = (centres.weights * readout.rho).sum(axis=-1).reshape(b, -1)
    return (
        centres,
        readout,
        np.einsum("brn,bn->br", density.reshape(b, -1, n), share),
        labels,
        top,
        robust,
    )


def _joined(
    parts: Sequence[tuple[Any, ...]], order: Sequence[tuple[slice, slice]], b: int, r: int
) -> tuple[Any, ...]:
    """Batches back in the order of runs."""

    def runs_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
        inner = arrays[0].shape[1:]
        joined = np.empty((b, r, *inner), dtype=np.float64 if arrays[0].dtype.kind == "f" else bool)
        for (rows, runs), array in zip(order, arrays, strict=True):
            joined[rows, runs] = array.reshape(
                rows.stop - rows.start, runs.stop - runs.start, *inner
            )
        return joined.reshape(b * r, *inner)

    def grid(arrays: Sequence[np.ndarray]) -> np.ndarray:
        joined = np.empty((b, r, *arrays[0].shape[2:]), dtype=arrays[0].dtype)
        for (rows, runs), array in zip(order, arrays, strict=True):
            joined[rows, runs] = array
        return joined

    def records(place: int, names: Sequence[str]) -> list[np.ndarray]:
        return [runs_of([getattr(part[place], name) for part in parts]) for name in names]

    centres = Centres(*records(0, ("weights", "means", "covariances", "is_component")))
    readout = Readout(*records(1, ("temperature", "strength", "rho", "nu")))
    return (centres, readout, *(grid([part[place] for part in parts]) for place in range(2, 6)))
