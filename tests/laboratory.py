"""A folder of results as a run leaves it, for tests of the site: small, and hostile where asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statformer.experiments.results import row_store, write_result
from statformer.plotting.chart import Chart, HeatMap, Panel, Series

HOSTILE = "<script>alert(1)</script> & \"double\" 'single' ]]> \x07 $x^{$ 漢字"
LONG = "averylongword" * 12


def chart(label: str = "EM") -> Chart:
    """A curve with a band and a threshold, and a heat map."""
    curve = Series(label, (1, 2, 4), (0.5, 0.1, 0.02), (0.4, 0.08, 0.01), (0.6, 0.12, 0.03))
    oracle = Series("oracle", (1, 2, 4), (0.4, 0.09, 0.01), style="dashed")
    heat = HeatMap((0, 1, 2), (0, 1), ((1, 2, 3), (4, 5, 6)), "loss", contours=True)
    panels = [
        Panel(label, "separation", "error", [curve, oracle], log_y=True, rule=0.05, rule_label="t"),
        Panel("landscape", "first", "second", heat=heat),
    ]
    return Chart(panels, caption=f"Caption of {label}.")


def add_result(
    folder: Path,
    name: str = "em_slope",
    *,
    rows: Sequence[Mapping[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Write a result and its rows; `changes` replace entries of the JSON."""
    rng = np.random.default_rng(0)
    rows = rows or [
        {"d": d, "seed": seed, "depth": depth, "gap": float(rng.uniform(0.1, 0.2)), "ok": seed < 2}
        for d in (2, 8)
        for seed in range(3)
        for depth in (1, 4)
    ]
    about = {"started": "2026-01-02T03:04:05+00:00"}
    row_store(folder, name).put("key", rows, about)
    result: dict[str, Any] = {
        "name": name,
        "size": "quick",
        "claim": "The error falls with depth.",
        "paper": "2502.06007",
        "source": "item 1 [paper]",
        "kind": "learnability",
        "not_the_authors": "",
        "cost": "quick 4 s",
        "grid": {"d": [2, 8]},
        "n_seeds": 3,
        "timeout_minutes": 30.0,
        "verdict": {
            "status": "holds",
            "measured": "gap 0.15 [0.14, 0.16]",
            "threshold": "at most 0.2",
            "threshold_source": "ours",
            "reason": "",
        },
        "provisional": "",
        "chart": chart().to_json(),
        "controls": [{"name": "half_step", "says": "the step is halved", "size": "tiny"}],
        "positive": {"says": "the oracle", "size": "tiny"},
        "rows": ["key"],
        "n_jobs": 6,
        "n_reused": 0,
        "failed": [],
        "seconds": 83.0,
        "core_seconds": 42.0,
        "wall_seconds": 50.0,
        "thresholds": {
            "commit": "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678",
            "date": "2026-01-02T01:00:00+01:00",
            "is_clean": True,
            "note": "",
        },
        "head": "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567",
        "tree_is_clean": True,
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:04:47+00:00",
        "machine": {
            "processor": "a processor",
            "cores": 2,
            "memory_gib": 7.8,
            "system": "Linux 6",
            "python": "3.11.7",
            "load_average": [1.0, 1.0, 1.0],
        },
        "versions": {"numpy": "2.0", "torch": None},
        "engine": "local",
        "command": f"statformer experiments run {name} --quick",
    }
    result |= changes
    write_result(folder, result)
    return result


def add_hostile_result(folder: Path) -> None:
    """A result whose texts, all that people write, hold markup, quotes and control characters."""
    rows = [
        {"prior": prior, "seed": seed, "gap": 0.1 * seed, HOSTILE: HOSTILE}
        for prior in ("plain", HOSTILE)
        for seed in range(2)
    ]
    add_result(
        folder,
        "hostile",
        rows=rows,
        claim=f"{HOSTILE} {LONG}",
        source=HOSTILE,
        not_the_authors=HOSTILE,
        cost=HOSTILE,
        grid={"prior": ["plain", HOSTILE]},
        verdict={
            "status": "undecided",
            "measured": f"{HOSTILE} {LONG}",
            "threshold": HOSTILE,
            "threshold_source": "derived",
            "reason": HOSTILE,
        },
        provisional=HOSTILE,
        chart=chart(HOSTILE).to_json(),
        controls=[{"name": HOSTILE, "says": HOSTILE, "size": "tiny"}],
        failed=[{"cell": {"prior": HOSTILE}, "seed": 1, "error": HOSTILE}],
        thresholds={"commit": None, "date": None, "is_clean": False, "note": HOSTILE},
        engine=HOSTILE,
        command=f"statformer experiments run hostile {HOSTILE}",
    )
