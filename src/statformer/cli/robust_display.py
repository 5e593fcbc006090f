"""What `statformer robust` says: lines while it works, tables at its end, records for JSON."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from statformer.pretraining.loop import Progress
    from statformer.robust.table import RobustnessTable

__all__ = ["EpochLines", "heard", "print_robustness", "print_table", "records", "remark", "say"]


class EpochLines:
    """A line on standard error after each epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def __call__(self, progress: Progress) -> None:
        if progress.event == "evaluation":
            epoch = round(progress.step * self.epochs / progress.n_steps)
            values = "  ".join(f"{name} {value:.3f}" for name, value in progress.values.items())
            say(f"epoch {epoch} of {self.epochs}: {values}")


@contextmanager
def heard() -> Iterator[list[str]]:
    """The messages of the user warnings that come up inside, each once; said as they come."""
    remarks: list[str] = []

    def hear(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        line = " ".join(str(message).split())
        if issubclass(category, UserWarning) and line not in remarks:
            remarks.append(line)
            remark([line])

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = hear
        yield remarks


def print_robustness(table: RobustnessTable) -> None:
    """A line per attack, then a line per class."""
    summary, per_class = table.summary, table.per_class
    shown = ("accuracy", "worst", "std")
    print_table(
        ["attack", *shown, "seconds"],
        [
            [line["attack"], *(f"{line[name]:.4f}" for name in shown), f"{line['seconds']:.1f}"]
            for line in summary.to_dict("records")
        ],
    )
    attacks = list(summary["attack"])
    by_class = per_class.pivot(index="label", columns="attack", values="accuracy")[attacks]
    counts = per_class.drop_duplicates("label").set_index("label")["n_images"]
    print_table(
        ["class", "images", *attacks],
        [
            [str(label), str(counts[label]), *(f"{value:.3f}" for value in line)]
            for label, line in zip(by_class.index, by_class.to_numpy(), strict=True)
        ],
    )


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output, its first column to the left."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Lines as JSON has them: NaN is null."""
    return [
        {
            str(name): None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in line.items()
        }
        for line in frame.to_dict("records")
    ]


def remark(lines: Sequence[str]) -> None:
    """What a reader of the numbers must know."""
    for line in lines:
        say(f"note: {line}")


def say(line: str) -> None:
    """A line on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
