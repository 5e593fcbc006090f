"""Contexts of the protein-signalling network (Sachs et al. 2005): 11 proteins, three levels each.

The structure and the "synthetic" tables, drawn from Dirichlet(0.1), are those of the public code of
Cao et al. (arXiv 2501.02547), who test on measured rows. Those are in no package that is installed
here: pgmpy fetches them from a hub when asked. It does carry bnlearn's network of the same
proteins, whose tables were estimated from the measured rows: "fitted". That network lacks one of
the 18 edges, PIP3 to Akt.

Axes: b networks, n rows, v variables, c configurations of the parents, d levels.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float

from statformer._extras import MissingExtraError
from statformer.estimators.bif import Bif, read_bif
from statformer.experiments._bayes_net_counts import draw_networks
from statformer.tasks.bayes_net import SACHS_NAMES, STRUCTURES, BayesNetBatch, BayesNetPrior

LEVELS = 3
PARENTS = STRUCTURES["sachs"]


def draw_sachs(
    tables: str, n_networks: int, n_rows: int, rng: np.random.Generator
) -> BayesNetBatch:
    """Contexts with "synthetic" tables, fresh for each, or "fitted" ones, the same for all."""
    if tables == "fitted":
        return _fitted(n_networks, n_rows, rng)
    prior = BayesNetPrior("sachs", n_rows, n_categories=LEVELS, concentration=0.1)
    return draw_networks(prior, n_networks, rng)


def _fitted(n_networks: int, n_rows: int, rng: np.random.Generator) -> BayesNetBatch:
    """Rows of the one network of pgmpy; its tables in the layout of `BayesNetBatch`."""
    tables = _tables(_bnlearn())
    X = np.zeros((n_networks, n_rows, len(PARENTS)), dtype=np.int64)
    laws = np.full((len(PARENTS), LEVELS**3, LEVELS), 1.0 / LEVELS)
    adjacency = np.zeros((len(PARENTS), len(PARENTS)), dtype=bool)
    for m, parents in enumerate(PARENTS):
        p = tables[m][tuple(np.moveaxis(X[..., list(parents)], -1, 0))]
        below = np.cumsum(p, axis=-1)[..., :-1]
        X[..., m] = (rng.random((n_networks, n_rows, 1)) >= below).sum(-1)
        # A configuration is read with its first parent as the fastest digit.
        k = len(parents)
        turned = tables[m].transpose(*range(k)[::-1], k).reshape(-1, LEVELS)
        laws[m, : len(turned)] = turned
        adjacency[m, list(parents)] = True

    def repeated(one: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(one).expand(n_networks, *one.shape)

    return BayesNetBatch(torch.from_numpy(X), repeated(adjacency), repeated(laws).float())


def _tables(network: Bif) -> list[Float[np.ndarray, "..."]]:
    """One per variable of `PARENTS`, an axis per parent; a parent that is missing does nothing."""
    spelled = {name.lower(): name for name in network.states}
    tables = []
    for m, parents in enumerate(PARENTS):
        name = spelled[SACHS_NAMES[m].lower()]
        of_file = network.parents[name]
        wanted = [spelled[SACHS_NAMES[u].lower()] for u in parents]
        order = [of_file.index(parent) for parent in wanted if parent in of_file]
        table = np.asarray(network.tables[name]).transpose(*order, len(of_file))
        for axis, parent in enumerate(wanted):
            if parent not in of_file:
                table = np.repeat(np.expand_dims(table, axis), LEVELS, axis)
        tables.append(table / table.sum(-1, keepdims=True))
    return tables


def _bnlearn() -> Bif:
    """Raises MissingExtraError without pgmpy."""
    spec = find_spec("pgmpy")
    if spec is None or spec.origin is None:
        raise MissingExtraError("pgmpy is not installed; pip install 'statformer[bench]'")
    packed = Path(spec.origin).parent / "utils" / "example_models" / "sachs.bif.gz"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sachs.bif"
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        return read_bif(path)
