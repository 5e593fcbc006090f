"""A fitted Bayesian network for other programs: a pgmpy model, a .bif file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from statformer._extras import require
from statformer.estimators.bayes_net_columns import CategoryColumn
from statformer.estimators.bayes_net_structure import NamedStructure
from statformer.estimators.bayes_net_tables import Tables
from statformer.estimators.bif import Bif, bif_text
from statformer.weights.pack import write_atomically


def as_pgmpy(named: NamedStructure, columns: Sequence[CategoryColumn], tables: Tables) -> Any:
    """A DiscreteBayesianNetwork with a TabularCPD per variable; states are the categories."""
    models, factors = require("pgmpy.models", "bench"), require("pgmpy.factors.discrete", "bench")
    states = {column.name: list(column.categories) for column in columns}
    model = models.DiscreteBayesianNetwork()
    model.add_nodes_from(named.names)
    for m, name in enumerate(named.names):
        parents, table = named.parents_of(name), tables.probabilities[m]
        model.add_edges_from((parent, name) for parent in parents)
        family = {key: states[key] for key in (name, *parents)}
        model.add_cpds(
            factors.TabularCPD(
                name,
                table.shape[-1],
                table.reshape(-1, table.shape[-1]).T,
                evidence=parents or None,
                evidence_card=list(table.shape[:-1]) or None,
                state_names=family,
            )
        )
    return model


def save_bif(
    named: NamedStructure, columns: Sequence[CategoryColumn], tables: Tables, path: Path
) -> None:
    """Write the network to `path`, which appears when it is complete.

    Raises ValueError for names that the format cannot hold, or that become equal as text.
    """
    texts = [str(name) for name in named.names]
    states = {str(c.name): tuple(str(value) for value in c.categories) for c in columns}
    for name, of_name in states.items():
        if len(set(of_name)) < len(of_name) or texts.count(name) > 1:
            raise ValueError(f"variable {name!r}: two names are the same as text; rename one")
    parents = {str(name): tuple(str(p) for p in named.parents_of(name)) for name in named.names}
    bif = Bif(states, parents, dict(zip(texts, tables.probabilities, strict=True)))
    write_atomically(path, bif_text(bif).encode())
