"""Options that several commands share, each declared once."""

from __future__ import annotations

import csv
from typing import Annotated

import typer

from statformer.cli.errors import CommandError, one_line

Delimiter = Annotated[
    str | None,
    typer.Option(metavar="C", help="Mark between cells, or 'tab'; guessed where not given."),
]
Decimal = Annotated[
    str | None, typer.Option(metavar="C", help="Decimal mark, . or ,; guessed where not given.")
]
Encoding = Annotated[
    str | None, typer.Option(metavar="E", help="Encoding of the text, utf-8 where not given.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]
Json = Annotated[
    bool | None,
    typer.Option(
        "--json/--no-json",
        help="One JSON object, or a report to read. Default: JSON where the output is piped.",
        show_default=False,
    ),
]


def names_in(text: str | None, option: str) -> list[str]:
    """The names in 'A,B'; quotes protect a comma: '"A,B",C'."""
    if text is None:
        return []
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise CommandError(f"{option} {text!r} is not a list of names: {one_line(error)}") from None
    names = [name.strip() for row in rows for name in row if name.strip()]
    if not names:
        raise CommandError(f"{option} is empty; give names parted by commas")
    return names
