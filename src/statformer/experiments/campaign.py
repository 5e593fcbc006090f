"""Experiments on an engine: what is not yet measured becomes jobs; then each gets its verdict.

The jobs of all experiments go to the engine together, so that none waits for the slowest cell of
another. Rows are stored as they come; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from statformer.experiments.base import Experiment, Size, Verdict
from statformer.experiments.folder import PACKAGE, load_experiment
from statformer.experiments.results import row_store, write_result
from statformer.experiments.running import Point, load_all, measure_point, table_of_rows
from statformer.runs.engines import Engine, run_jobs
from statformer.runs.jobs import Job, Outcome
from statformer.runs.machine import git_output, machine, versions
from statformer.runs.provenance import Provenance, provenance
from statformer.runs.rows import RowStore, job_key
from statformer.runs.sources import closure, sources_key

__all__ = ["Progress", "Setting", "run_experiments"]


@dataclass(frozen=True)
class Setting:
    """How experiments are run: the size, the folder of the results, the engine (see `run_jobs`)."""

    size: Size
    folder: Path
    engine: Engine = "local"
    n_workers: int | None = None
    address: str | None = None
    command: str = ""
    package: str = PACKAGE


@dataclass(frozen=True)
class Progress:
    """A job that has ended, of how many; those of earlier runs count as done."""

    done: int
    total: int
    name: str
    error: str = ""


@dataclass
class _Plan:
    """An experiment of a run: its points by key, and what became of them."""

    name: str
    experiment: Experiment
    points: dict[str, Point]
    store: RowStore
    thresholds: Provenance
    n_reused: int
    waiting: set[str]
    errors: dict[str, str] = field(default_factory=dict)


def run_experiments(
    names: Sequence[str],
    setting: Setting,
    callback: Callable[[Progress], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """The result of every experiment in `names`, written to the folder, as each is decided.

    `callback` hears of every job that ends. A job that raised, was too slow or whose worker died
    is in "failed" of the result, whose verdict is then undecided; it is tried again by the next
    run. Raises KeyError for an unknown name, and what `run_jobs` raises.
    """
    began = datetime.now(UTC)
    clock = time.perf_counter()
    plans = [_plan(name, setting) for name in dict.fromkeys(names)]
    owners = {key: plan for plan in plans for key in plan.points}
    total, done = len(owners), sum(plan.n_reused for plan in plans)

    def conclude(plan: _Plan) -> dict[str, Any]:
        result = _result(plan, setting)
        result["wall_seconds"] = round(time.perf_counter() - clock, 3)
        result["started"] = began.isoformat(timespec="seconds")
        result["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_result(setting.folder, result)
        return result

    yield from (conclude(plan) for plan in plans if not plan.waiting)
    jobs = [
        Job(key, plan.points[key], 60.0 * plan.experiment.timeout_minutes)
        for plan in plans
        for key in plan.points
        if key in plan.waiting
    ]
    prepare = partial(load_all, [plan.name for plan in plans if plan.waiting], setting.package)
    for outcome in run_jobs(
        measure_point, jobs, setting.engine, setting.n_workers, setting.address, prepare
    ):
        plan = owners[outcome.key]
        error = _keep(plan, outcome)
        done += 1
        if callback is not None:
            callback(Progress(done, total, plan.name, error))
        if not plan.waiting:
            yield conclude(plan)


def _plan(name: str, setting: Setting) -> _Plan:
    """The points of an experiment, and which of them have no rows yet."""
    experiment = load_experiment(name, setting.package)
    module = f"{setting.package}.{name}"
    sources = sources_key(module)
    points = {
        job_key(sources, cell, seed): Point(name, cell, seed, sources, setting.package)
        for cell in experiment.cells(setting.size)
        for seed in experiment.seeds(setting.size)
    }
    store = row_store(setting.folder, name)
    waiting = {key for key in points if key not in store}
    shared = [
        path
        for part, path in closure(module).items()
        if part.startswith(f"{setting.package}._") and ":" not in part
    ]
    thresholds = provenance(closure(module)[module], *shared)
    return _Plan(name, experiment, points, store, thresholds, len(points) - len(waiting), waiting)


def _keep(plan: _Plan, outcome: Outcome) -> str:
    """Store the rows of an outcome; return why there are none, "" where they are stored."""
    plan.waiting.discard(outcome.key)
    error = outcome.error
    if not error:
        point, measured = plan.points[outcome.key], outcome.value
        about = {
            "name": plan.name,
            "cell": dict(point.cell),
            "seed": point.seed,
            "sources": point.sources,
            "seconds": round(measured.seconds, 4),
            "core_seconds": round(measured.core_seconds, 4),
        }
        try:
            plan.store.put(outcome.key, measured.rows, about)
        except (TypeError, ValueError) as problem:  # a column of numbers and text
            error = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    if error:
        plan.errors[outcome.key] = error
    return error


def _result(plan: _Plan, setting: Setting) -> dict[str, Any]:
    """What is written about an experiment, but for the times of the run."""
    experiment, size = plan.experiment, setting.size
    finished = [key for key in plan.points if key not in plan.errors]
    failed = [
        {"cell": dict(plan.points[key].cell), "seed": plan.points[key].seed, "error": error}
        for key, error in plan.errors.items()
    ]
    about = [plan.store.about(key) for key in finished]
    verdict, chart, problems = _conclusions(plan, finished)
    package = Path(__file__).resolve().parents[1]
    changes = git_output(package, "status", "--porcelain", "--", ".")
    return {
        "name": plan.name,
        "size": size,
        "claim": experiment.claim,
        "paper": experiment.paper,
        "source": experiment.source,
        "kind": experiment.kind,
        "not_the_authors": experiment.not_the_authors,
        "cost": experiment.cost,
        "verdict": verdict.as_dict(),
        "provisional": plan.thresholds.note and f"thresholds: {plan.thresholds.note}",
        "chart": chart,
        "grid": {
            axis: list(values)
            for axis, values in (
                {"tiny": experiment.tiny, "quick": experiment.quick, "full": experiment.grid}[size]
            ).items()
        },
        "n_seeds": len(experiment.seeds(size)),
        "timeout_minutes": experiment.timeout_minutes,
        "controls": [
            {"name": name, "says": control.says, "size": control.size or experiment.control_size}
            for name, control in experiment.controls.items()
        ],
        "positive": None
        if experiment.positive is None
        else {
            "says": experiment.positive.says,
            "size": experiment.positive.size or experiment.control_size,
        },
        "rows": finished,
        "n_jobs": len(plan.points),
        "n_reused": plan.n_reused,
        "failed": failed + problems,
        "seconds": round(sum(one["seconds"] for one in about), 3),
        "core_seconds": round(sum(one["core_seconds"] for one in about), 3),
        "thresholds": plan.thresholds.as_dict(),
        "head": git_output(package, "rev-parse", "HEAD"),
        "tree_is_clean": None if changes is None else not changes,
        "engine": setting.engine,
        "command": setting.command,
        "machine": machine(),
        "versions": versions(),
    }


def _conclusions(
    plan: _Plan, finished: Sequence[str]
) -> tuple[Verdict, dict[str, Any] | None, list[dict[str, Any]]]:
    """The verdict, the chart as JSON, and what went wrong on the way to them.

    A table with holes is not judged: what did not finish may be what would have failed.
    """
    table = table_of_rows(row for key in finished for row in plan.store.get(key))
    problems: list[dict[str, Any]] = []

    def attempt(what: str, work: Callable[[Any], Any]) -> Any:
        try:
            return work(table)
        except Exception as error:  # noqa: BLE001 - the rows are there, the others go on
            said = f"{what}: {type(error).__name__}: {' '.join(str(error).split())}"
            problems.append({"cell": {}, "seed": None, "error": said})
            return None

    verdict: Verdict | None = None
    chart = None
    if plan.errors:
        first = next(iter(plan.errors.values()))
        reason = f"{len(plan.errors)} of {len(plan.points)} jobs did not finish: {first}"
    else:
        verdict = attempt("holds", plan.experiment.holds)
        reason = problems[0]["error"] if problems else ""
        figure = plan.experiment.figure
        if figure is not None:
            chart = attempt("figure", lambda rows: figure(rows).to_json())
    if verdict is None:
        verdict = Verdict("undecided", "nothing", "not asked", "ours", reason)
    return verdict, chart, problems
