"""Finished cells of the optimizer bench as plain tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from statformer.benchmarks import summary
from statformer.benchmarks.optim_run import SCHEDULES
from statformer.benchmarks.optim_step_time import BASES
from statformer.benchmarks.optim_training import diverged, gap, losses
from statformer.benchmarks.sheet import Cells, Sheet

SHORT_SCHEDULES = dict(zip(SCHEDULES, ("const.", "cosine"), strict=True))


def sheets(data: Mapping[str, Any]) -> list[Sheet]:
    """One or more sheets per measured part, then the targets."""
    cells: Cells = data["cells"]
    by_part = {
        part: {k: c for k, c in cells.items() if c["part"] == part and "missing" not in c}
        for part in "abcd"
    }
    makers = {"a": _step_time, "b": _training, "c": _sensitivity, "d": _gpu}
    found = [sheet for part, make in makers.items() for sheet in make(by_part[part])]
    verdicts = summary.sheets({"cells": {}, "targets": data.get("targets", [])})
    return [sheet for sheet in found if sheet.rows] + verdicts


def _step_time(cells: Cells) -> list[Sheet]:
    timed = {name: cell for name, cell in cells.items() if "ratio" in cell}
    if not timed:
        return []
    names = list(next(iter(timed.values()))["seconds"])
    found = []
    for base in BASES:
        sheet = Sheet(f"Time of a step over that of {base}", ("method", *_columns(timed)))
        for name in names:
            ratios = [cell["ratio"][base][name] for cell in timed.values()]
            words = ["{value:.2f} [{low:.2f}, {high:.2f}]".format(**ratio) for ratio in ratios]
            sheet.rows.append((name, *words))
        found.append(sheet)
    loads = [f"{c['other_load']:.2f} {'' if c['is_valid'] else 'NO'}" for c in timed.values()]
    found[0].rows.append(("others' load; NO: disturbed", *loads))
    memory = Sheet(
        "Memory, in buffers of the parameters' size", ("method", "state", "more during a step")
    )
    largest = max(timed.values(), key=lambda c: (c["parameters"], -c["tensors"]))
    for name, kept in largest["memory"].items():
        peak = kept["peak of a step"]
        memory.rows.append((name, f"{kept['buffers']:.3f}", "" if peak is None else f"{peak:.2f}"))
    return [*found, memory]


def _columns(cells: Cells) -> list[str]:
    """'1e5 / 100 / 1t': parameters, tensors, threads."""
    return [
        f"{c['parameters']:.0e} / {c['tensors']}".replace("e+0", "e")
        + (f" / {c['threads']}t" if "threads" in c else "")
        for c in cells.values()
    ]


def _training(cells: Cells) -> list[Sheet]:
    """Gaps, held-out losses and rates that were tuned; a column for each task and schedule."""
    mine = [cell for cell in cells.values() if "method" in cell]
    places = list(dict.fromkeys((cell["task"], cell["schedule"]) for cell in mine))
    names = list(dict.fromkeys(cell["method"] for cell in mine))
    columns = [f"{task}, {SHORT_SCHEDULES[schedule]}" for task, schedule in places]
    by_place = {(c["task"], c["schedule"], c["method"]): c for c in mine}
    gaps = Sheet("Training: gap to tuned AdamW in %, over seeds", ("method", *columns))
    train = Sheet("Training: final training loss, median of seeds", ("method", *columns))
    test = Sheet("Training: final loss held out, median of seeds", ("method", *columns))
    for name in names:
        gaps.rows.append((name, *(_gap(cells, *place, name) for place in places)))
        for kind, sheet in (("train", train), ("test", test)):
            found = [by_place.get((*place, name)) for place in places]
            sheet.rows.append((name, *(_final(cell, kind) for cell in found)))
    rates = Sheet("AdamW's rates: final training loss by rate", ("task", "best", "rates: losses"))
    for cell in cells.values():
        if "best rate" in cell:
            pairs = zip(cell["rates"], cell["final train"], strict=True)
            words = ", ".join(f"{rate:g}: {loss:.4g}" for rate, loss in pairs if loss is not None)
            best = f"{cell['best rate']:g}{' (at an end)' if cell['is at an end'] else ''}"
            rates.rows.append((f"{cell['task']}, {cell['schedule']}", best, words))
    return [gaps, train, test, rates]


def _gap(cells: Cells, task: str, schedule: str, method: str) -> str:
    interval = gap(cells, task, schedule, method)
    if interval is None:
        return ""
    if not np.isfinite(interval.value):
        return "diverged"
    value, low, high = (100 * x for x in (interval.value, interval.low, interval.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _final(cell: Mapping[str, Any] | None, kind: str) -> str:
    if cell is None:
        return ""
    found, n = losses(cell, kind)[:, -1], diverged(cell)
    words = f"{np.nanmedian(found):.4f}" if np.isfinite(found).any() else ""
    return f"{words} ({n} of {len(found)} diverged)".strip() if n else words


def _sensitivity(cells: Cells) -> list[Sheet]:
    """Final training loss, median of seeds, at each place of an axis."""
    found: dict[tuple[str, str], Sheet] = {}
    for cell in cells.values():
        place = (cell["task"], cell["axis"])
        header = ("method", *(f"{at:g}" for at in cell["at"]))
        sheet = found.setdefault(place, Sheet(f"{place[0]}: final loss by {place[1]}", header))
        finals = np.array(cell["final train"], dtype=np.float64)
        medians = np.median(np.where(np.isfinite(finals), finals, np.inf), axis=1)
        sheet.rows.append((cell["method"], *(f"{m:.4g}" for m in medians)))
    return list(found.values())


def _gpu(cells: Cells) -> list[Sheet]:
    trained = Sheet(
        "GPT-2 small's shape: losses at the end", ("method", "schedule", "train", "test", "seconds")
    )
    for cell in cells.values():
        if "method" in cell:
            finals = [_final(cell, kind) for kind in ("train", "test")]
            seconds = f"{cell['seconds of a run']:.0f}"
            trained.rows.append((cell["method"], cell["schedule"], *finals, seconds))
    return [*_step_time(cells), trained]
