"""Which cells of a table a Bayesian network is fitted to: those of a file's variables, or all.

Axes: rows are n, columns are variables v.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from statformer.cli.errors import CommandError, nearest_name, unknown_column

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from statformer.cli.reading import Table
    from statformer.estimators.bif import Bif

MOST_VALUES = 50  # a column of more is no category, unless a file declares it
NOT_NAMED, NOT_ORDERED = "not in the structure", "not in --order"


def cells_of_network(source: Table, network: Bif, structure: Path) -> pd.DataFrame:
    """The variables of the network as they are written in the table, NaN where missing.

    A word that usually means "missing" counts as a state where the network declares it.
    """
    names = [name for name in source.frame.columns if name in network.states]
    absent = [name for name in network.states if name not in source.frame.columns]
    if absent:
        free = [str(name) for name in source.frame.columns if name not in network.states]
        guess = nearest_name(absent[0], free)
        remedy = f"is it {guess!r}? rename it" if guess else f"{len(absent)} such"
        raise CommandError(
            f"{source.name} has no column {absent[0]!r}, which {str(structure)!r} names; {remedy}"
        )
    cells = source.original()[names]
    for name in names:
        is_missing = source.frame[name].isna() & ~cells[name].isin(list(network.states[name]))
        cells[name] = cells[name].mask(is_missing)
    return cells


def cells_to_read(source: Table, order: list[str] | None) -> tuple[pd.DataFrame, dict[str, str]]:
    """Columns that can be variables, those of `order` if there is one; and why others cannot.

    Raises CommandError for a name in `order` that is no column or comes twice, a column of it that
    has no value or more than `MOST_VALUES`, and for a table in which no column is left.
    """
    names = [str(name) for name in source.frame.columns]
    unfit = {}
    for name, column in zip(names, source.frame.columns, strict=True):
        n_values = source.frame[column].nunique()
        if n_values == 0:
            unfit[name] = "no value"
        elif n_values > MOST_VALUES:
            unfit[name] = f"{n_values:,} values, more than {MOST_VALUES}; cut it into intervals"
    for i, name in enumerate(order or ()):
        if name not in names:
            raise unknown_column(name, "--order", names)
        if name in (order or ())[:i]:
            raise CommandError(f"--order names {name!r} twice")
        if name in unfit:
            raise CommandError(f"--order names {name!r}, which has {unfit[name]}")
    if order is not None:
        unfit = {name: NOT_ORDERED for name in names if name not in order}
    kept = [name for name in names if name not in unfit]
    if not kept:
        raise CommandError(f"{source.name} has no column of at most {MOST_VALUES} values")
    cells = source.original()[kept]
    return cells.mask(source.frame[kept].isna()), unfit
