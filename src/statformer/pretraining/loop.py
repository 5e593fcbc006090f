"""The one training loop: draw tasks, step, log, evaluate, checkpoint, export.

Axes: none of its own; a recipe's batch has b tasks per rank.

The state after step s is a function of (recipe, seed, n_steps, s) and the number of threads: the
learning rate and the loss see the step, the tasks of step s are drawn from (seed, s, j), and no
other randomness exists. So a run that was killed and resumed ends in the same bits.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from statformer.pretraining.card import export
from statformer.pretraining.checkpoint import (
    Checkpoint,
    CheckpointError,
    latest_step,
    load_checkpoint,
    load_optimizer,
    optimizer_state,
    save_checkpoint,
)
from statformer.pretraining.launcher import Launcher
from statformer.pretraining.log import RunLog, json_line, step_sizes
from statformer.pretraining.recipe import Recipe
from statformer.tasks.stream import TaskStream

__all__ = ["Progress", "Result", "pretrain"]

N_TIMED_STEPS = 50
N_WARM_STEPS = 3
N_SKIPPED_IN_A_ROW = 100


@dataclass(frozen=True)
class Progress:
    """What a callback hears: `event` is "start", "step", "evaluation", "checkpoint" or "end"."""

    event: str
    step: int
    n_steps: int
    values: Mapping[str, float]

    def to_json(self) -> str:
        """One line of JSON, for those who read a run through a pipe."""
        return json_line(self.event, self.step, n_steps=self.n_steps, **self.values)


@dataclass(frozen=True)
class Result:
    """The outcome of a run; `module` has the averaged weights where the recipe asks for them."""

    module: nn.Module
    out_dir: Path
    n_steps: int
    n_skipped: int
    seconds: float
    evaluation: Mapping[str, float]
    weights_path: Path
    card_path: Path


@dataclass
class _Run:
    """Everything that changes while the run goes on; what a checkpoint has to hold."""

    recipe: Recipe
    launcher: Launcher
    seed: int
    module: nn.Module
    averaged: nn.Module | None
    optimizer: torch.optim.Optimizer
    n_steps: int = 0
    step: int = 0
    n_skipped: int = 0
    n_skipped_in_a_row: int = 0
    seconds_before: float = 0.0
    began: float = field(default_factory=time.monotonic)
    window: dict[str, float] = field(default_factory=dict)
    n_window: int = 0
    evaluated_at: int = -1
    evaluation: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.began

    @property
    def best(self) -> nn.Module:
        """The weights to evaluate and export."""
        return self.module if self.averaged is None else self.averaged


def pretrain(
    recipe: Recipe,
    *,
    out_dir: str | Path,
    n_steps: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    device: str | torch.device = "cpu",
    resume: bool = False,
    callback: Callable[[Progress], None] | None = None,
    checkpoint_every_s: float = 60.0,
) -> Result:
    """Train `recipe` for `n_steps` steps, or for as many as fit into `minutes`, into `out_dir`.

    `minutes` sets the number of steps once, from 50 timed steps on a copy of the network, and the
    checkpoint keeps it: the run then equals one with that `n_steps`. With `resume`, the newest
    checkpoint in `out_dir` continues; its seed and number of steps hold unless `n_steps` names
    another. `seed` is 0 for a new run that names none.

    Writes log.jsonl, checkpoints/, and at the end final.safetensors and card.json.

    Raises ValueError for contradictory arguments, CheckpointError (a ValueError) when a checkpoint
    is missing, damaged, foreign or in the way, and FloatingPointError when 100 steps in a row had
    a loss or gradient that is not finite.
    """
    if (n_steps is None) == (minutes is None) and not (resume and n_steps is None):
        raise ValueError(f"n_steps={n_steps} and minutes={minutes}: pass exactly one of them")
    if n_steps is not None and n_steps < 1:
        raise ValueError(f"n_steps={n_steps}: pass at least 1")
    if minutes is not None and not (minutes > 0 and math.isfinite(minutes)):
        raise ValueError(f"minutes={minutes}: pass a positive number")
    out_dir = Path(out_dir)
    launcher = Launcher.start(device)
    launcher.tasks(recipe.batch_size)  # raises before any work is done
    log = RunLog(out_dir / "log.jsonl")
    run = (
        _resumed(recipe, launcher, out_dir, seed)
        if resume
        else _new(recipe, launcher, out_dir, seed)
    )
    _set_n_steps(run, n_steps, minutes, resume)
    launcher.wait()  # every rank has read the folder before one of them writes to it
    report = _Reporter(run, log, callback, out_dir / "checkpoints", checkpoint_every_s)
    report.start(resume)
    while run.step < run.n_steps:
        values = _train_step(run)
        report.after_step(values)
    report.end()
    weights_path, card_path = out_dir / "final.safetensors", out_dir / "card.json"
    if launcher.is_main:
        export(
            recipe,
            run.best,
            weights_path,
            card_path,
            log=log.read(),
            facts={
                "seed": run.seed,
                "n_steps": run.n_steps,
                "n_skipped": run.n_skipped,
                "seconds": round(run.seconds, 1),
                "n_ranks": launcher.n_ranks,
                "device": launcher.device.type,
                "evaluation": run.evaluation,
            },
        )
    launcher.wait()
    return Result(
        module=run.best,
        out_dir=out_dir,
        n_steps=run.n_steps,
        n_skipped=run.n_skipped,
        seconds=run.seconds,
        evaluation=run.evaluation,
        weights_path=weights_path,
        card_path=card_path,
    )


# -- beginning, or beginning again ---------------------------------------------------------------


def _built(recipe: Recipe, launcher: Launcher, seed: int) -> _Run:
    with torch.random.fork_rng(devices=[]):  # torch's own initialisers know no other generator
        torch.default_generator.manual_seed(seed)
        module = recipe.build(seed)
    module = module.to(launcher.device)
    averaged = None if recipe.ema_decay is None else copy.deepcopy(module)
    optimizer = recipe.optimizer(_trained(module))
    return _Run(recipe, launcher, seed, module, averaged, optimizer)


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _new(recipe: Recipe, launcher: Launcher, out_dir: Path, seed: int | None) -> _Run:
    if latest_step(out_dir / "checkpoints") is not None:
        raise CheckpointError(
            f"{out_dir} holds the checkpoints of an earlier run; resume it or choose another folder"
        )
    if launcher.is_main:
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / "log.jsonl").unlink(missing_ok=True)
    return _built(recipe, launcher, 0 if seed is None else seed)


def _identity(recipe: Recipe) -> dict[str, Any]:
    """What must agree for a checkpoint to belong to `recipe`."""
    return {
        "recipe": recipe.name,
        "settings": recipe.settings(),
        "batch_size": recipe.batch_size,
        "ema_decay": recipe.ema_decay,
    }


def _resumed(recipe: Recipe, launcher: Launcher, out_dir: Path, seed: int | None) -> _Run:
    checkpoint = load_checkpoint(out_dir / "checkpoints")
    values = checkpoint.values
    expected = _identity(recipe) | ({} if seed is None else {"seed": seed})
    _refuse_foreign(values, expected, out_dir)
    run = _built(recipe, launcher, values["seed"])
    _load_module(run.module, checkpoint.part("module"), out_dir)
    if run.averaged is not None:
        _load_module(run.averaged, checkpoint.part("averaged"), out_dir)
    load_optimizer(run.optimizer, checkpoint.part("optimizer"), values["optimizer"])
    run.step, run.n_steps = checkpoint.step, values["n_steps"]
    run.n_skipped, run.n_skipped_in_a_row = values["n_skipped"], values["n_skipped_in_a_row"]
    run.seconds_before = values["seconds"]
    run.window, run.n_window = values["window"], values["n_window"]
    run.evaluated_at, run.evaluation = values["evaluated_at"], values["evaluation"]
    return run


def _refuse_foreign(values: Mapping[str, Any], expected: Mapping[str, Any], out_dir: Path) -> None:
    """Raise CheckpointError for the first entry of `expected` that the checkpoint contradicts."""
    for name, wanted in expected.items():
        saved, value = values.get(name), wanted
        if saved == value:
            continue
        if isinstance(saved, dict) and isinstance(value, dict):
            keys = [
                key
                for key in sorted(saved.keys() | value.keys())
                if saved.get(key) != value.get(key)
            ]
            saved, value = ({key: entry.get(key) for key in keys} for entry in (saved, value))
        raise CheckpointError(
            f"the checkpoint in {out_dir} has {name} {saved!r}, this run {value!r}; "
            "resume with what began the run, or choose another folder"
        )


def _load_module(module: nn.Module, tensors: Mapping[str, Tensor], out_dir: Path) -> None:
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the checkpoint in {out_dir} does not fit the recipe's network: {first}"
        ) from error


def _checkpoint(run: _Run) -> Checkpoint:
    optimizer_tensors, optimizer_values = optimizer_state(run.optimizer)
    parts = {"module": run.module.state_dict(), "optimizer": optimizer_tensors}
    if run.averaged is not None:
        parts["averaged"] = run.averaged.state_dict()
    tensors = {f"{part}.{name}": t for part, named in parts.items() for name, t in named.items()}
    values = _identity(run.recipe) | {
        "seed": run.seed,
        "n_steps": run.n_steps,
        "n_skipped": run.n_skipped,
        "n_skipped_in_a_row": run.n_skipped_in_a_row,
        "seconds": run.seconds,
        "window": run.window,
        "n_window": run.n_window,
        "evaluated_at": run.evaluated_at,
        "evaluation": run.evaluation,
        "n_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "optimizer": optimizer_values,
    }
    return Checkpoint(step=run.step, tensors=tensors, values=values)


# -- the number of steps ---------------------------------------------------------------------------


def _set_n_steps(run: _Run, n_steps: int | None, minutes: float | None, resume: bool) -> None:
    """Fix `run.n_steps`; a resumed run keeps its own unless `n_steps` is given."""
    if n_steps is not None:
        if n_steps < run.step:
            raise ValueError(f"n_steps={n_steps}: the checkpoint is already at step {run.step}")
        run.n_steps = n_steps
    elif not resume and minutes is not None:
        run.n_steps = _steps_within(run, 60.0 * minutes)


def _steps_within(run: _Run, seconds: float) -> int:
    """How many steps fit into `seconds` from the start of the run, evaluations included.

    The 50 timed steps train a copy, so that the run itself equals one with a given n_steps. They
    go through the whole range of progress, for a recipe may make later tasks dearer.
    """
    trial = copy.copy(run)
    trial.module = copy.deepcopy(run.module)
    trial.averaged = copy.deepcopy(run.averaged)
    trial.optimizer = run.recipe.optimizer(_trained(trial.module))
    trial.n_steps = N_TIMED_STEPS
    for _ in range(N_WARM_STEPS):
        _train_step(trial)
    trial.step = 0
    start = time.monotonic()
    for _ in range(N_TIMED_STEPS):
        _train_step(trial)
    per_step = (time.monotonic() - start) / N_TIMED_STEPS
    start = time.monotonic()
    if run.launcher.is_main:
        _scores(run.recipe, trial.best)
    run.launcher.wait()
    per_evaluation = time.monotonic() - start
    left = seconds - run.seconds - per_evaluation
    n_steps = left / (per_step + per_evaluation / run.recipe.eval_every)
    agreed = run.launcher.mean(torch.tensor([n_steps], dtype=torch.float64).to(run.launcher.device))
    return max(1, int(agreed.item()))


# -- one step ------------------------------------------------------------------------------------


def _train_step(run: _Run) -> dict[str, float]:
    """Advance `run` by one step; a step with a loss or gradient that is not finite moves nothing.

    All that the ranks share goes through one vector, (loss, parts, gradients), and one mean.
    """
    recipe, launcher = run.recipe, run.launcher
    tasks = launcher.tasks(recipe.batch_size)
    stream = TaskStream(run.seed, run.step, tasks, launcher.device)
    batch = recipe.sample(stream)
    run.module.train()
    run.optimizer.zero_grad(set_to_none=True)
    progress = run.step / max(run.n_steps - 1, 1)
    loss, parts = recipe.loss(run.module, batch, progress)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = _trained(run.module)
    n_numbers = 1 + len(parts)
    numbers = torch.tensor([parts[name] for name in sorted(parts)], dtype=loss.dtype)
    flat = torch.cat(
        [loss.detach().reshape(1), numbers.to(loss.device)]
        # A parameter that the loss did not touch counts as 0 on every rank.
        + [
            torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1)
            for p in parameters
        ]
    )
    flat = launcher.mean(flat)
    gradient = flat[n_numbers:]
    norm = torch.linalg.vector_norm(gradient).item()
    mean_loss, *mean_parts = flat[:n_numbers].tolist()
    rate = recipe.learning_rate(run.step, run.n_steps)
    if math.isfinite(mean_loss) and math.isfinite(norm):
        scale = min(1.0, recipe.max_gradient_norm / max(norm, 1e-12))
        _assign(parameters, gradient * scale)
        for group in run.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        run.optimizer.step()
        _average(run)
        run.n_skipped_in_a_row = 0
    else:
        run.n_skipped += 1
        run.n_skipped_in_a_row += 1
        if run.n_skipped_in_a_row >= N_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"{N_SKIPPED_IN_A_ROW} steps in a row had a loss or gradient that is not finite, "
                f"the last at step {run.step}; lower the learning rate or mend the loss"
            )
    run.step += 1
    named = dict(zip(sorted(parts), mean_parts, strict=True))
    numbers_of_step = {"loss": mean_loss, "gradient_norm": norm, "learning_rate": rate}
    return numbers_of_step | step_sizes(run.optimizer) | named


def _assign(parameters: list[nn.Parameter], gradient: Tensor) -> None:
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, part in zip(parameters, torch.split(gradient, sizes), strict=True):
        parameter.grad = part.reshape(parameter.shape).to(parameter.dtype)


@torch.no_grad()
def _average(run: _Run) -> None:
    """averaged <- decay averaged + (1 - decay) weights; a shorter memory in the first steps."""
    if run.averaged is None or run.recipe.ema_decay is None:
        return
    decay = min(run.recipe.ema_decay, (1.0 + run.step) / (10.0 + run.step))
    current = run.module.state_dict()
    for name, mean in run.averaged.state_dict().items():
        if mean.is_floating_point():
            mean.lerp_(current[name], 1.0 - decay)
        else:
            mean.copy_(current[name])


def _scores(recipe: Recipe, module: nn.Module) -> dict[str, float]:
    module.eval()
    with torch.no_grad():
        return {name: float(value) for name, value in recipe.evaluate(module).items()}


# -- what happens between steps --------------------------------------------------------------------


@dataclass
class _Reporter:
    """Log, evaluation, checkpoints and callback; on ranks other than the first it only waits."""

    run: _Run
    log: RunLog
    callback: Callable[[Progress], None] | None
    folder: Path
    checkpoint_every_s: float
    saved: float = field(default_factory=time.monotonic)

    def start(self, resume: bool) -> None:
        run = self.run
        if not run.launcher.is_main:
            return
        facts = {
            "n_steps": run.n_steps,
            "seed": run.seed,
            "n_ranks": run.launcher.n_ranks,
            "n_threads": torch.get_num_threads(),
        }
        if resume:
            self.log.truncate(run.step)
        self.log.write("resume" if resume else "start", run.step, recipe=run.recipe.name, **facts)
        self._call("start", {"seconds": run.seconds})
        self._save()

    def after_step(self, values: Mapping[str, float]) -> None:
        run, recipe = self.run, self.run.recipe
        if run.launcher.is_main:
            self._log_step(values)
        if run.step % recipe.eval_every == 0 and run.step < run.n_steps:
            self._evaluate()
        if run.launcher.is_main and time.monotonic() - self.saved >= self.checkpoint_every_s:
            self._save()

    def end(self) -> None:
        self._evaluate()
        if self.run.launcher.is_main:
            self._save()
            self._call("end", {**self.run.evaluation, "seconds": self.run.seconds})

    def _log_step(self, values: Mapping[str, float]) -> None:
        """Add to the window and write its mean; a skipped step gets a line of its own."""
        run = self.run
        if run.n_skipped_in_a_row:
            shown = {name: repr(v) for name, v in values.items() if not math.isfinite(v)}
            self.log.write("skipped", run.step, n_skipped=run.n_skipped, not_finite=shown)
        else:
            for name, value in values.items():
                run.window[name] = run.window.get(name, 0.0) + value
            run.n_window += 1
        if run.step % run.recipe.log_every == 0 or run.step == run.n_steps:
            means = {name: total / run.n_window for name, total in run.window.items()}
            seconds = round(run.seconds, 3)
            self.log.write("step", run.step, **means, n_skipped=run.n_skipped, seconds=seconds)
            run.window, run.n_window = {}, 0
        self._call("step", {**values, "seconds": run.seconds})

    def _evaluate(self) -> None:
        run = self.run
        if run.launcher.is_main and run.evaluated_at != run.step:
            run.evaluation = _scores(run.recipe, run.best)
            run.evaluated_at = run.step
            self.log.write("evaluation", run.step, **run.evaluation)
            self._call("evaluation", run.evaluation)
        run.launcher.wait()

    def _save(self) -> None:
        save_checkpoint(self.folder, _checkpoint(self.run))
        self.saved = time.monotonic()
        self._call("checkpoint", {"seconds": self.run.seconds})

    def _call(self, event: str, values: Mapping[str, float]) -> None:
        if self.callback is not None:
            self.callback(Progress(event, self.run.step, self.run.n_steps, values))
