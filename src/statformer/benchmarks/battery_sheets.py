"""Finished batteries as tables of words: parts (f) to (j)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from statformer.benchmarks import calibration, effort, given_k, indices, judging, unknown_k
from statformer.benchmarks.batteries import IN_PRIOR, LEFT, NEVER
from statformer.benchmarks.incomplete import MARGINALISING, STEPMIX
from statformer.benchmarks.sheet import Cells, Sheet, interval, signed, value


def _given_k(cells: Cells) -> list[Sheet]:
    rivals = (*given_k.SINGLE_RIVALS, given_k.SELECTOR, STEPMIX, *MARGINALISING)
    names = (given_k.OURS, *rivals, given_k.BAYES)
    means = Sheet("K given: mean ARI", ("battery", "n", *names))
    gaps = Sheet(
        "K given: ARI of the network minus the rival's [95 % paired bootstrap interval]",
        ("battery", "best rival of the other half", *rivals),
    )
    kinds = Sheet("K given: mean ARI by kind of table", ("kind", *names[:-1]))
    for name, cell in cells.items():
        if "missing" in cell:
            means.rows.append((name, "-", cell["missing"]))
            continue
        means.rows.append((name, str(cell["n"]), *(value(cell["ari"].get(m)) for m in names)))
        best = cell["ours minus the best rival"]
        named = f"{signed(best)} {' / '.join(dict.fromkeys(best['named']))}" if best else ""
        minus = cell["ours minus"]
        gaps.rows.append((name, named, *(signed(minus[m]) if m in minus else "" for m in rivals)))
        for kind, scores in cell["by kind"].items():
            row = (f"{scores[m]:.3f}" if m in scores else "" for m in names[:-1])
            kinds.rows.append((kind, *row))
    return [sheet for sheet in (means, gaps, kinds) if sheet.rows]


def _unknown_k(cells: Cells) -> list[Sheet]:
    sheet = Sheet(
        "K unknown", ("battery", "n", "method", "log score", "exact", "error", "ARI", "K = 1 split")
    )
    for name, cell in cells.items():
        if "missing" in cell:
            sheet.rows.append((name, "-", cell["missing"]))
            continue
        splits = cell.get("false splits where K = 1", {})
        for method in unknown_k.METHODS:
            values = [value(cell[m][method]) for m in unknown_k.MEASURES]
            row = (name, str(cell["n"]), method, *values, value(splits.get(method)))
            sheet.rows.append(row)
    believed = Sheet(
        "P(K): how often the most probable K is right, by its probability",
        ("batteries", "method", "n", "P of the mode", "right", "log score", "ECE (10 bins)"),
    )
    for group in (IN_PRIOR, LEFT, NEVER):
        mine = [c for c in cells.values() if c["group"] == group and "missing" not in c]
        if not mine:
            continue
        for method in unknown_k.METHODS:
            believed.rows.append((group, method, *_believed_k(mine, method)))
    return [sheet, believed] if believed.rows else [sheet]


def _believed_k(cells: list[Mapping[str, Any]], method: str) -> tuple[str, ...]:
    bins = unknown_k.reliability(cells, method)
    n = bins[:, 0].sum()
    log_score = np.concatenate([c["scores"][f"{method}: log score"] for c in cells]).mean()
    return (
        f"{n:.0f}",
        f"{bins[:, 1].sum() / n:.3f}",
        f"{bins[:, 2].sum() / n:.3f}",
        f"{log_score:.3f}",
        f"{calibration.ece(bins):.3f}",
    )


def _judged(cells: Cells) -> list[Sheet]:
    found = []
    selectors = (judging.JUDGE, given_k.SELECTOR, *indices.NAMES, judging.BEST)
    for task in (judging.GIVEN, judging.UNKNOWN):
        sheet = Sheet(f"{task}: mean ARI of the candidate that is picked", ("battery", *selectors))
        exact = Sheet(f"{task}: how often the pick has the true K", ("battery", *selectors[:-1]))
        for name, cell in cells.items():
            if "missing" in cell:
                sheet.rows.append((name, cell["missing"]))
                continue
            sheet.rows.append((name, *(value(cell[task].get(s)) for s in selectors)))
            if task == judging.UNKNOWN:
                row = (value(cell["exact K"].get(s)) for s in selectors[:-1])
                exact.rows.append((name, *row))
        found += [sheet, exact] if exact.rows else [sheet]
    return [*found, _expected_ari(cells)]


def _expected_ari(cells: Cells) -> Sheet:
    """Predicted against true ARI by bins of the prediction, all batteries together."""
    sheet = Sheet(
        "Expected ARI: mean of the prediction and of the truth by bins of the prediction",
        ("judged", "labelings", "predicted", "true"),
    )
    for name in (judging.JUDGE, judging.ALONE):
        bins = judging.pooled_bins(cells.values(), name)
        for count, predicted, true in bins[bins[:, 0] > 0]:
            row = (name, f"{count:.0f}", f"{predicted / count:.3f}", f"{true / count:.3f}")
            sheet.rows.append(row)
        if bins[:, 0].any():
            error = f"mean gap {judging.calibration_error(bins):.3f}"
            sheet.rows.append((name, f"{bins[:, 0].sum():.0f}", error, ""))
    return sheet


def _calibrated(cells: Cells) -> list[Sheet]:
    sheet = Sheet(
        "Calibration of responsibilities, K given",
        ("battery", "n", "method", "ECE", "Brier", "NLL"),
    )
    for name, cell in cells.items():
        if "missing" in cell:
            sheet.rows.append((name, "-", cell["missing"]))
            continue
        for method in calibration.METHODS:
            values = (interval(cell[m][method]) for m in ("ECE", "Brier", "NLL"))
            sheet.rows.append((name, str(cell["n"]), method, *values))
    for group in (IN_PRIOR, LEFT, NEVER):
        mine = [c for c in cells.values() if c["group"] == group and "missing" not in c]
        for method in calibration.METHODS if mine else ():
            bins = [calibration.stored_bins(cell, method) for cell in mine]
            pooled = calibration.ece_interval(bins)
            row = (f"{group}, pooled", str(pooled.n), method, str(pooled), "", "")
            sheet.rows.append(row)
    return [sheet]


def _effort(cells: Cells) -> list[Sheet]:
    sheet = Sheet(
        "What effort buys",
        ("battery", "task", "effort", "ARI", "minus fast", "ms, median", "ms, 90 %"),
    )
    for name, cell in cells.items():
        for task in effort.TASKS:
            mine = cell[task]
            for level in effort.EFFORTS:
                gap = mine["minus fast"].get(level)
                sheet.rows.append(
                    (
                        name,
                        task,
                        level,
                        value(mine["ari"][level]),
                        "" if gap is None else signed(gap),
                        f"{mine['ms, median'][level]:.0f}",
                        f"{mine['ms, 90 %'][level]:.0f}",
                    )
                )
    return [sheet]


MAKERS: dict[str, Callable[[Cells], list[Sheet]]] = {
    "f": _given_k,
    "g": _unknown_k,
    "h": _judged,
    "i": _calibrated,
    "j": _effort,
}
