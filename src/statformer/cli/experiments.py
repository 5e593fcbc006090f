"""`statformer experiments list|run|show|report`: claims, their verdicts, and the site of both."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statformer._extras import require
from statformer.cli.errors import CommandError, nearest_name, one_line
from statformer.cli.experiments_display import (
    print_experiment,
    print_experiments,
    print_results,
    progress_display,
)
from statformer.cli.options import Json
from statformer.experiments.folder import PACKAGE, experiment_names, load_experiment
from statformer.images.splits import FOLDER_VARIABLE
from statformer.runs.engines import ENGINES, Engine

if TYPE_CHECKING:
    from statformer.experiments.base import Experiment, Size

RESULTS = Path("out/experiments")
SITE = Path("out/site")

Results = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Folder of the results of `run`.")
]

experiments = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Run claims and see which hold (extra: experiments).",
)


@experiments.callback()
def _experiments() -> None:
    """Run claims and see which hold."""


@experiments.command("list")
def list_all(as_json: Json = None) -> None:
    """Name every experiment with its paper (arXiv id), kind, measured cost and flag."""
    names, found = _all()
    shown = [_summary(name, one) for name, one in zip(names, found, strict=True)]
    if _is_json(as_json):
        _write_json(shown)
    else:
        print_experiments(shown)


@experiments.command()
def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Experiments to run.")
    ] = None,
    paper: Annotated[
        str | None, typer.Option(metavar="ID", help="All of a paper: an arXiv id, or 'ours'.")
    ] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="All experiments.")] = False,
    tiny: Annotated[bool, typer.Option("--tiny", help="Seconds: does it run?")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A minute or so each (default).")] = False,
    full: Annotated[bool, typer.Option("--full", help="The size that decides.")] = False,
    engine: Annotated[str, typer.Option(metavar="local|ray|dask", help="Where cells run.")] = (
        "local"
    ),
    address: Annotated[
        str | None, typer.Option(metavar="A", help="Of a running cluster. Default: one is started.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Processes on this machine. Default: the cores.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of mnist.npz and cifar10.npz. Default: fetched."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")] = RESULTS,
    as_json: Json = None,
) -> None:
    """Measure the cells that have no rows yet, and say for every claim whether it holds.

    A run that was stopped goes on where it ended; after a change of the sources that an experiment
    imports it is measured anew. The exit code is 0 also where a claim fails, which is a result, and
    1 where a cell broke down.
    """
    chosen = _chosen(names or [], paper, all_of_them)
    size = _size(tiny=tiny, quick=quick, full=full)
    _needs()
    from statformer.experiments.campaign import Setting, run_experiments

    command = "statformer " + " ".join(sys.argv[1:])
    if images is not None:
        _use_images(images)
    in_json = _is_json(as_json)
    results: list[dict[str, Any]] = []
    try:
        setting = Setting(size, out, _engine(engine), jobs, address, command, PACKAGE)
        with progress_display(in_a_bar=not in_json) as display:
            for result in run_experiments(chosen, setting, display.job):
                results.append(result)
                display.result(result)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on where it ended\n")
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        raise CommandError(one_line(error)) from error
    results.sort(key=lambda result: chosen.index(result["name"]))
    if in_json:
        kept = ("name", "size", "paper", "kind", "verdict", "not_the_authors", "provisional")
        numbers = ("n_jobs", "n_reused", "failed", "seconds", "core_seconds", "wall_seconds")
        _write_json([{key: result[key] for key in (*kept, *numbers)} for result in results])
    else:
        print_results(results)
        typer.echo(f"results: {out}; a site of them: statformer experiments report --results {out}")
    if any(result["failed"] for result in results):
        raise typer.Exit(1)


@experiments.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    results: Results = RESULTS,
    as_json: Json = None,
) -> None:
    """Tell what an experiment claims and measures, and what its runs found."""
    (chosen,) = _chosen([name], None, False)
    _needs()
    from statformer.experiments.results import read_results

    experiment = load_experiment(chosen, PACKAGE)
    try:
        found = read_results(results) if results.is_dir() else []
    except ValueError as error:
        raise CommandError(
            f"--results {results} holds a damaged file; {one_line(error)}"
        ) from error
    shown = {
        **_summary(chosen, experiment),
        "source": experiment.source,
        "about": (sys.modules[f"{PACKAGE}.{chosen}"].__doc__ or "").strip(),
        "grids": {
            "tiny": {axis: list(values) for axis, values in experiment.tiny.items()},
            "quick": {axis: list(values) for axis, values in experiment.quick.items()},
            "full": {axis: list(values) for axis, values in experiment.grid.items()},
        },
        "controls": {control: one.says for control, one in experiment.controls.items()},
        "positive": experiment.positive.says if experiment.positive else None,
        "results": [result for result in found if result["name"] == chosen],
    }
    if _is_json(as_json):
        _write_json(shown)
    else:
        print_experiment(shown)


@experiments.command()
def report(
    results: Results = RESULTS,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the site.")] = SITE,
) -> None:
    """Build a site of all results: pages that open from a file."""
    _needs()
    from statformer.experiments.report import build_site

    try:
        index = build_site(results, out, package=PACKAGE)
    except (ValueError, OSError) as error:
        raise CommandError(one_line(error)) from error
    typer.echo(str(index))


def _use_images(folder: Path) -> None:
    """Tell `statformer.images`, here and in the workers, where images lie."""
    if not folder.is_dir():
        raise CommandError(f"--images {folder}: no such folder; name one with mnist.npz")
    os.environ[FOLDER_VARIABLE] = str(folder.resolve())


def _needs() -> None:
    for module in ("torch", "psutil", "pyarrow"):
        require(module, "experiments")


def _all() -> tuple[list[str], list[Experiment]]:
    _needs()
    names = experiment_names(PACKAGE)
    return names, [load_experiment(name, PACKAGE) for name in names]


def _chosen(names: Sequence[str], paper: str | None, all_of_them: bool) -> list[str]:
    """The names that are meant. Raises CommandError for none, unknown ones and two ways at once."""
    if sum((bool(names), paper is not None, all_of_them)) != 1:
        raise CommandError("name experiments, or pass --paper ID, or --all; one of the three")
    known = experiment_names(PACKAGE)
    for name in names:
        if name not in known:
            guess = nearest_name(name, known)
            remedy = f"did you mean {guess!r}?" if guess else "see statformer experiments list"
            raise CommandError(f"there is no experiment {name!r}; {remedy}")
    if names:
        return list(dict.fromkeys(names))
    if all_of_them:
        return known
    known, found = _all()
    of_paper = [name for name, one in zip(known, found, strict=True) if one.paper == paper]
    if not of_paper:
        papers = ", ".join(sorted({one.paper for one in found}))
        raise CommandError(f"--paper {paper!r} has no experiment; there are {papers}")
    return of_paper


def _size(*, tiny: bool, quick: bool, full: bool) -> Size:
    if tiny + quick + full > 1:
        raise CommandError("--tiny, --quick and --full exclude each other; pass one")
    return "tiny" if tiny else "full" if full else "quick"


def _engine(name: str) -> Engine:
    for engine in ENGINES:
        if engine == name:
            return engine
    raise CommandError(f"--engine is {name!r}; pass one of {', '.join(ENGINES)}")


def _summary(name: str, experiment: Experiment) -> dict[str, Any]:
    """What the listing says of an experiment."""
    return {
        "name": name,
        "paper": experiment.paper,
        "kind": experiment.kind,
        "cost": experiment.cost,
        "not_the_authors": experiment.not_the_authors,
        "claim": experiment.claim,
        "jobs": {
            size: len(experiment.cells(size)) * len(experiment.seeds(size))
            for size in ("tiny", "quick", "full")
        },
    }


def _is_json(asked: bool | None) -> bool:
    return not sys.stdout.isatty() if asked is None else asked


def _write_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
