"""pgmpy, pomegranate and pyAgrum behind one face: fit a given structure, draw rows.

Importing pgmpy and pyAgrum warns; where warnings are errors pyAgrum crashes, so they are silenced.
pgmpy and pomegranate draw from global generators, which `global_seeds_kept` puts back.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

Parents = Mapping[str, list[str]]
WORDS = np.array(["low", "medium", "high"], dtype=object)  # where the columns are text
N_CATEGORIES = len(WORDS)
SMOOTHING = 1e-6  # rows: pyAgrum refuses a configuration of parents that was never seen


def libraries() -> SimpleNamespace:
    """pyAgrum, and the network classes of pgmpy and pomegranate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyagrum
        from pgmpy.models import DiscreteBayesianNetwork
        from pomegranate.bayesian_network import BayesianNetwork

    return SimpleNamespace(
        agrum=pyagrum, pgmpy=DiscreteBayesianNetwork, pomegranate=BayesianNetwork
    )


@contextmanager
def global_seeds_kept() -> Iterator[None]:
    """Leave the global generators of numpy and torch as they were found."""
    found, of_torch = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(found)  # noqa: NPY002
        torch.set_rng_state(of_torch)


class Pgmpy:
    """Maximum likelihood; `simulate` draws."""

    def fit(self, df: pd.DataFrame, parents: Parents) -> Pgmpy:
        """Estimate the tables."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.network = libraries().pgmpy([(p, c) for c, of in parents.items() for p in of])
            self.network.add_nodes_from(parents)
            self.network.fit(df)
        return self

    def sample(self, n: int) -> Any:
        """n rows as a DataFrame."""
        return self.network.simulate(n, show_progress=False, seed=0)


class Pomegranate:
    """Maximum likelihood on a torch tensor that is made before the clock starts."""

    def fit(self, X: Any, parents: Parents) -> Pomegranate:
        """Estimate the tables from X "n v" of codes."""
        place = {name: m for m, name in enumerate(parents)}
        structure = tuple(tuple(place[p] for p in of) for of in parents.values())
        self.network = libraries().pomegranate(structure=structure)
        self.network.fit(X)
        return self

    def sample(self, n: int) -> Any:
        """n rows as a tensor."""
        return self.network.sample(n)


class Agrum:
    """pyAgrum's learner, on variables whose states are known; maximum likelihood to 1e-6 rows."""

    def __init__(self, n_threads: int = 1) -> None:
        self.n_threads = n_threads

    def fit(self, df: pd.DataFrame, parents: Parents) -> Agrum:
        """Estimate the tables."""
        agrum = self.agrum = libraries().agrum
        template = agrum.BayesNet()
        for name in parents:
            if df[name].dtype == "str":
                template.add(agrum.LabelizedVariable(name, "", WORDS.tolist()))
            else:
                template.add(agrum.RangeVariable(name, "", 0, N_CATEGORIES - 1))
        for child, of in parents.items():
            for parent in of:
                template.addArc(parent, child)
        learner = agrum.BNLearner(df, template)
        learner.useSmoothingPrior(SMOOTHING)
        learner.setNumberOfThreads(self.n_threads)
        self.network = learner.learnParameters(template.dag())
        return self

    def sample(self, n: int) -> Any:
        """n rows in pyAgrum's own database."""
        generator = self.agrum.BNDatabaseGenerator(self.network)
        generator.drawSamples(n)
        return generator

    def sample_frame(self, n: int) -> Any:
        """n rows as a DataFrame."""
        return self.sample(n).to_pandas()
