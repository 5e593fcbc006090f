"""The structure of a Bayesian network, from whatever a user has: a dict, a graph, a file.

Axes: v variables.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from statformer.estimators.bif import read_bif
from statformer.reference.bayes_net import CycleError, Structure

COLUMNS = "columns"  # order=: as the columns stand


@dataclass(frozen=True)
class NamedStructure:
    """A structure whose variables have names, and declared states where the source had them."""

    names: tuple[Hashable, ...]
    structure: Structure
    states: Mapping[Hashable, tuple[Any, ...]] = field(default_factory=dict)

    def parents_of(self, name: Hashable) -> list[Hashable]:
        """Names of the parents, in their order."""
        return [self.names[p] for p in self.structure.parents[self.names.index(name)]]


def read_structure(source: Any) -> NamedStructure:
    """The structure that `source` describes.

    A mapping child -> parents (roots may be left out), a networkx DiGraph, a pgmpy model (its
    states are taken from its tables) or the path of a .bif file.

    Raises TypeError for anything else, FileNotFoundError, BifError, and ValueError for a parent
    that is listed twice or a cycle, which is named.
    """
    if isinstance(source, Mapping):
        return _named({child: _listed(child, parents) for child, parents in source.items()})
    if isinstance(source, (str, Path)):
        if Path(source).suffix.lower() != ".bif":
            raise ValueError(f"structure={str(source)!r} should be the path of a .bif file")
        bif = read_bif(Path(source))
        return _named(bif.parents, bif.states)
    if hasattr(source, "predecessors") and hasattr(source, "nodes"):
        parents = {node: list(source.predecessors(node)) for node in source.nodes}
        return _named(parents, _states_of_pgmpy(source))
    raise TypeError(
        f"structure is a {type(source).__name__}; pass {{child: [parents]}}, a networkx DiGraph, a "
        "pgmpy model or the path of a .bif file"
    )


def named_order(order: Any, names: Sequence[Hashable]) -> list[int] | None:
    """Numbers of the variables, parents before children; None where no order is known.

    Raises TypeError for what is neither "columns" nor a list of names, ValueError for a list that
    does not hold every name once.
    """
    if order is None:
        return None
    if isinstance(order, str) and order == COLUMNS:
        return list(range(len(names)))
    if isinstance(order, (str, bytes)) or not isinstance(order, Iterable):
        raise TypeError(
            f"order={order!r} should be a list of all columns, parents before children, or "
            "'columns', which takes them as they stand"
        )
    listed = list(order)
    unknown = [name for name in listed if name not in names]
    absent = [name for name in names if name not in listed]
    if unknown or absent or len(listed) > len(names):
        what = "a column is listed twice"
        if unknown:
            what = f"{unknown[0]!r} is no column"
        elif absent:
            what = f"column {absent[0]!r} is left out"
        raise ValueError(f"order={listed!r}: {what}; list every column of df once")
    return [list(names).index(name) for name in listed]


def _listed(child: Hashable, parents: Any) -> list[Hashable]:
    if isinstance(parents, (str, bytes)) or not isinstance(parents, Iterable):
        raise TypeError(
            f"structure[{child!r}]={parents!r} should be a list of parents, such as [{parents!r}]"
        )
    return list(parents)


def _named(
    parents: Mapping[Any, Iterable[Hashable]], states: Mapping[Any, tuple[Any, ...]] | None = None
) -> NamedStructure:
    everyone = [*parents, *(p for of_child in parents.values() for p in of_child)]
    names = tuple(dict.fromkeys(everyone))
    if not names:
        raise ValueError("structure names no variable; {'a': [], 'b': ['a']} is one of two")
    number = {name: m for m, name in enumerate(names)}
    listed = tuple(tuple(number[p] for p in parents.get(name, ())) for name in names)
    for name, of_child in zip(names, listed, strict=True):
        if len(set(of_child)) < len(of_child):
            raise ValueError(f"structure: {name!r} lists a parent twice")
    try:
        structure = Structure(listed)
    except CycleError as error:
        cycle = " -> ".join(repr(names[m]) for m in error.cycle)
        raise ValueError(
            f"structure has a cycle, {cycle}; a Bayesian network has none: leave out an edge"
        ) from None
    return NamedStructure(names, structure, states or {})


def _states_of_pgmpy(model: Any) -> dict[Hashable, tuple[Any, ...]]:
    """The states of the variables that have a table; a networkx graph has none."""
    if not hasattr(model, "get_cpds"):
        return {}
    tables = [model.get_cpds(node) for node in model.nodes]
    return {t.variable: tuple(t.state_names[t.variable]) for t in tables if t is not None}
