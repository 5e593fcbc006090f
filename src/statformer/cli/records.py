"""What a command found, as a record, and what it did with the table, in words.

The fields of a record are the keys of the JSON object. Axes: rows are points n, columns are
features d, clusters c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from statformer.cli.errors import listing

if TYPE_CHECKING:
    from statformer.cli.profiles import Difference

# Columns that nobody needs to be told of: they were left out by request.
UNREMARKED = {"--drop", "--like was fitted without it"}


class Report(Protocol):
    """A record of an answer, for `print_remarks`."""

    notes: list[str]
    warnings: list[str]

    def treatment(self) -> list[str]:
        """What was done with the columns and cells of the table, a line each."""


@dataclass
class Cluster:
    """One cluster: its number of rows, their share, and what sets it apart."""

    cluster: int
    size: int
    share: float
    set_apart_by: list[Difference]


@dataclass
class Score:
    """One method beside the label column, or beside our clusters where there is none."""

    method: str
    k: int
    ari: float | None
    ami: float | None
    seconds: float | None
    failure: str | None = None


@dataclass
class Likeness:
    """What became of the clusters of an earlier model: its file, and the names of the clusters.

    `overlap` is that of each cluster in `kept`, 1 for the same cluster.
    """

    model: str
    kept: list[int]
    overlap: list[float]
    new: list[int]
    gone: list[int]


@dataclass
class ClusterReport:
    """The answer of `statformer cluster`; its fields are the keys of the JSON object."""

    table: str
    n_rows: int
    n_columns: int
    columns: list[str]
    dropped: dict[str, str]
    encoded: dict[str, int]
    missing: dict[str, int]
    filled: bool
    notes: list[str]
    warnings: list[str]
    weights: str
    effort: str
    k: int
    k_asked: int | None
    k_probability: list[float]
    clear_clusters: bool
    expected_ari: float | None
    out_of_depth: float | None
    fell_back: bool
    clusters: list[Cluster]
    seconds: float
    like: Likeness | None = None
    compared_with: str | None = None
    n_compared: int | None = None
    scores: list[Score] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)

    def treatment(self) -> list[str]:
        """Columns set aside, text, missing cells; a fallback; how clusters were numbered."""
        lines = column_remarks(self.dropped, self.encoded, self.missing, filled=self.filled)
        return lines + _remarks_of_fit(self)


@dataclass
class PredictReport:
    """The answer of `statformer predict`; its fields are the keys of the JSON object."""

    table: str
    model: str
    n_rows: int
    k: int
    missing: dict[str, int]
    filled: bool
    ignored: list[str]
    notes: list[str]
    warnings: list[str]
    clusters: list[Cluster]
    seconds: float
    written: dict[str, str] = field(default_factory=dict)

    def treatment(self) -> list[str]:
        """Columns that the model does not know, and missing cells."""
        unknown = "ignored columns that the model does not know"
        lines = [f"{unknown}: {listing(self.ignored)}"] if self.ignored else []
        return lines + missing_cells(self.missing, filled=self.filled)


def column_remarks(
    dropped: dict[str, str], encoded: dict[str, int], missing: dict[str, int], *, filled: bool
) -> list[str]:
    """One line for each column set aside, one for text columns, one for missing cells."""
    lines = [f"dropped {name!r}: {why}" for name, why in dropped.items() if why not in UNREMARKED]
    if encoded:
        columns = listing([f"{name} ({count} values)" for name, count in encoded.items()])
        lines.append(f"read as categories, which may part the rows by themselves: {columns}")
    return lines + missing_cells(missing, filled=filled)


def missing_cells(missing: dict[str, int], *, filled: bool) -> list[str]:
    """How many cells of which columns are missing, and how they were read."""
    if not missing:
        return []
    columns = listing([f"{name} ({count})" for name, count in missing.items()])
    total = sum(missing.values())
    cells = "1 missing cell" if total == 1 else f"{total} missing cells"
    if filled:
        return [f"filled {cells}: {columns}"]
    return [f"{cells}, read as missing, not filled: {columns}"]


def _remarks_of_fit(report: ClusterReport) -> list[str]:
    lines = []
    if report.fell_back:
        lines.append(
            "the table is unlike all that the pretrained weights were trained on; constructed "
            "weights answered in their place, as --fallback constructed asks"
        )
    if report.like is not None:
        parts = [f"kept: {_names(report.like.kept)}"] if report.like.kept else []
        parts += [f"new: {_names(report.like.new)}"] if report.like.new else []
        parts += [f"gone: {_names(report.like.gone)}"] if report.like.gone else []
        lines.append(f"numbered like {report.like.model}; {'; '.join(parts)}")
    return lines


def _names(clusters: Sequence[int]) -> str:
    return listing([str(cluster) for cluster in clusters])
