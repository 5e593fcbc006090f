"""The site of all claims: plain pages that open from a file, made of recorded results.

Results are those of `experiments.results`. The site needs no network, no script and no server.
"""

from __future__ import annotations

import io
import os
from importlib.resources import files
from pathlib import Path

from statformer.experiments.folder import PACKAGE, experiment_names
from statformer.experiments.report.claim import Figure, claim_page
from statformer.experiments.report.entries import Entry, entries
from statformer.experiments.report.overview import overview
from statformer.experiments.results import read_results, read_table
from statformer.plotting.chart import Chart
from statformer.plotting.chart_svg import chart_svg, dark_rules, panel_svgs

__all__ = ["build_site"]


def build_site(results: Path, out: Path, *, package: str = PACKAGE) -> Path:
    """Write the site of the results in a folder to `out`; returns its index.html.

    Of several sizes of an experiment the largest decides. Experiments of `package` without a
    result are listed as "not run". A site that stands in `out` is written over, file by file.

        index.html                 all claims by paper
        claims/<name>.html         one claim
        figures/<name>.svg         its figure
        data/<name>.parquet, .csv  the rows behind it

    Raises ValueError for a result that is not an experiment's, MissingExtraError without matplotlib
    or pyarrow where a result needs them.
    """
    claims = entries(read_results(results), experiment_names(package), package)
    style = files("statformer.experiments.report").joinpath("site.css").read_text(encoding="utf-8")
    _write(out / "site.css", style + dark_rules() + "\n")
    for entry in claims:
        _write_claim(results, out, entry)
    index = out / "index.html"
    _write(index, overview(claims))
    return index


def _write_claim(results: Path, out: Path, entry: Entry) -> None:
    table = figure = None
    if entry.result is not None:
        table = read_table(results, entry.result)
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        _write(out / "data" / f"{entry.name}.parquet", buffer.getvalue())
        _write(out / "data" / f"{entry.name}.csv", table.to_csv(index=False))
        if entry.result["chart"] is not None:
            chart = Chart.from_json(entry.result["chart"])
            panels = panel_svgs(chart)
            _write(out / "figures" / f"{entry.name}.svg", chart_svg(panels, chart.in_words()))
            figure = Figure(panels, chart.caption)
    _write(out / "claims" / f"{entry.name}.html", claim_page(entry, table, figure))


def _write(path: Path, content: str | bytes) -> None:
    """Write to a file beside it, then rename, so that no reader sees half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
