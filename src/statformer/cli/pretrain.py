"""`statformer pretrain RECIPE --minutes N | --steps N`: train the weights of a recipe."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from statformer._extras import require
from statformer.cli.errors import CommandError, one_line

if TYPE_CHECKING:
    from rich.progress import TaskID

    from statformer.pretraining import Progress


def pretrain(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe's name, or module:attribute.")
    ],
    minutes: Annotated[
        float | None, typer.Option(metavar="N", help="Train for about N minutes.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Train for N steps.")] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to train.")] = "cpu",
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Continue the run in DIR.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the run. Default: training/RECIPE.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="0 where not given; a resumed run keeps its own."),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the recipe.")
    ] = None,
) -> None:
    """Train the weights of a recipe; a run that was stopped can be resumed."""
    require("torch", "torch")
    from statformer.pretraining import get_recipe, parse_options
    from statformer.pretraining import pretrain as train

    if resume is not None and out is not None:
        raise CommandError(f"--resume {resume} and --out {out}: a resumed run stays in its folder")
    if resume is None and (steps is None) == (minutes is None):
        raise CommandError("pass exactly one of --steps N and --minutes N")
    folder = resume
    try:
        chosen = get_recipe(recipe, **parse_options(option or []))
        folder = resume or out or Path("training") / chosen.name
        with _display(chosen.log_every) as display:
            train(
                chosen,
                out_dir=folder,
                n_steps=steps,
                minutes=minutes,
                seed=seed,
                device=device,
                resume=resume is not None,
                callback=display,
            )
    except KeyboardInterrupt:
        sys.stderr.write(f"stopped; go on with: statformer pretrain {recipe} --resume {folder}\n")
        raise typer.Exit(130) from None
    except (ValueError, ModuleNotFoundError, OSError, FloatingPointError) as error:
        raise CommandError(one_line(error)) from error
    finally:
        _leave_process_group()
    if sys.stdout.isatty():
        typer.echo(f"weights: {folder}/final.safetensors\ncard:    {folder}/card.json")


def _leave_process_group() -> None:
    """Part from the other processes of a launcher, where there are any."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _display(log_every: int) -> _Bar | _JsonLines:
    """A bar for one process at a terminal; lines in a pipe and among several processes."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) <= 1
    return _Bar() if alone and sys.stdout.isatty() else _JsonLines(log_every)


class _JsonLines:
    """One JSON object per event on standard output, steps thinned to the recipe's log lines."""

    def __init__(self, log_every: int) -> None:
        self.log_every = log_every

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        sys.stdout.flush()

    def __call__(self, progress: Progress) -> None:
        if progress.event == "step" and progress.step % self.log_every:
            return
        sys.stdout.write(progress.to_json() + "\n")
        sys.stdout.flush()


class _Bar:
    """A progress bar with a smoothed loss and the latest evaluation."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self.row: TaskID = self.bar.add_task("timing 50 steps", total=None)
        self.loss: float | None = None
        self.scores = ""

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def __call__(self, progress: Progress) -> None:
        if progress.event == "evaluation":
            scores = (f"{name} {value:.4g}" for name, value in progress.values.items())
            self.scores = "  ".join(scores)
        loss = progress.values.get("loss")
        if loss is not None and math.isfinite(loss):  # a skipped step has no loss to show
            self.loss = loss if self.loss is None else 0.98 * self.loss + 0.02 * loss
        shown = "" if self.loss is None else f"loss {self.loss:.4f}"
        self.bar.update(
            self.row,
            completed=progress.step,
            total=progress.n_steps,
            description=f"{shown}  {self.scores}".strip(),
        )
