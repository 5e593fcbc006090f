"""Checkpoints that are whole or absent: tensors as safetensors, everything else as JSON.

A checkpoint of step s is two files, `step-s.safetensors` and `step-s.json`. Both are written to
temporary files, flushed to the disk and renamed, the JSON last: it holds the size and the SHA-256
of the tensors, so a checkpoint without it does not exist and one that does not match is refused.
Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "latest_step",
    "load_checkpoint",
    "load_optimizer",
    "optimizer_state",
    "save_checkpoint",
    "write_atomically",
]

FORMAT = "statformer-checkpoint"
VERSION = 1
N_KEPT = 2


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or belongs to another run; the message says which."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps: named tensors, and values that JSON can hold."""

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors called "prefix.name", by name."""
        start = prefix + "."
        return {key[len(start) :]: t for key, t in self.tensors.items() if key.startswith(start)}


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file beside `path`, flush it to the disk, and rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself must survive a power cut, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _stem(step: int) -> str:
    return f"step-{step:09d}"


def _steps(folder: Path) -> list[int]:
    """Steps with a JSON file, in order."""
    stems = (path.stem.removeprefix("step-") for path in folder.glob("step-*.json"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def latest_step(folder: Path) -> int | None:
    """The step of the newest checkpoint in `folder`, or None when there is none."""
    steps = _steps(folder)
    return steps[-1] if steps else None


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` into `folder` and delete all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in checkpoint.tensors.items()
    }
    content = safetensors.torch.save(tensors)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "step": checkpoint.step,
        "n_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "values": checkpoint.values,
    }
    stem = _stem(checkpoint.step)
    write_atomically(folder / f"{stem}.safetensors", content)
    write_atomically(folder / f"{stem}.json", json.dumps(head, indent=1).encode())
    _prune(folder)


def _prune(folder: Path) -> None:
    """Delete older checkpoints and what an interrupted run left half-written."""
    kept = {_stem(step) for step in _steps(folder)[-N_KEPT:]}
    for path in [*folder.glob("step-*.json"), *folder.glob("step-*.safetensors")]:
        if path.stem not in kept:
            path.unlink(missing_ok=True)
    for path in folder.glob(".step-*.tmp"):
        path.unlink(missing_ok=True)


def load_checkpoint(folder: Path, step: int | None = None) -> Checkpoint:
    """The checkpoint of `step` in `folder`; the newest one when `step` is None.

    Raises CheckpointError when there is none, or when it is truncated, corrupted or foreign.
    """
    steps = _steps(folder)
    if not steps or (step is not None and step not in steps):
        wanted = "" if step is None else f" of step {step}"
        raise CheckpointError(f"{folder} holds no checkpoint{wanted}; start the run without resume")
    step = steps[-1] if step is None else step
    path = folder / f"{_stem(step)}.json"
    remedy = _remedy(folder, step, steps)
    head = _read_head(path, remedy)
    tensor_path = path.with_suffix(".safetensors")
    try:
        content = tensor_path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{tensor_path} cannot be read ({error}); {remedy}") from error
    if len(content) != head["n_bytes"]:
        raise CheckpointError(
            f"{tensor_path} has {len(content)} bytes where {head['n_bytes']} were written; {remedy}"
        )
    if hashlib.sha256(content).hexdigest() != head["sha256"]:
        raise CheckpointError(f"{tensor_path} was altered: its SHA-256 does not match; {remedy}")
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{tensor_path} is no safetensors file ({error}); {remedy}"
        ) from error
    return Checkpoint(step=step, tensors=tensors, values=head["values"])


def _remedy(folder: Path, step: int, steps: list[int]) -> str:
    earlier = [s for s in steps if s < step]
    if not earlier:
        return "start the run anew in another folder"
    return f"delete {_stem(step)}.* in {folder} to go on from step {earlier[-1]}"


def _read_head(path: Path, remedy: str) -> dict[str, Any]:
    try:
        head = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({error}); {remedy}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this project; {remedy}")
    if head.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has checkpoint version {head.get('version')}, this code reads {VERSION}; "
            "use the release that wrote it"
        )
    missing = {"n_bytes", "sha256", "step", "values"} - head.keys()
    if missing or not isinstance(head["values"], dict):
        raise CheckpointError(f"{path} lacks {sorted(missing) or 'its values'}; {remedy}")
    return head


# -- the optimizer: tensors by index and name, and JSON for the rest -------------------------------


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors ("0.exp_avg": ...) and JSON values of an optimizer's state.

    Raises TypeError when the state holds something that is neither, for then a resumed run would
    not continue the same run.
    """
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for name, entry in entries.items():
            if isinstance(entry, Tensor):
                tensors[f"{index}.{name}"] = entry
            else:
                values.setdefault(str(index), {})[name] = _plain(entry, name)
    groups = [
        {key: _plain(entry, key) for key, entry in group.items()} for group in state["param_groups"]
    ]
    return tensors, {"state": values, "param_groups": groups}


def _plain(entry: object, name: str) -> object:
    """`entry` when it survives JSON (a tuple comes back as one, see `_like`)."""
    if isinstance(entry, Tensor):
        entry = entry.item()
    if isinstance(entry, list | tuple):
        return [_plain(item, name) for item in entry]
    if entry is None or isinstance(entry, bool | int | float | str):
        return entry
    raise TypeError(
        f"the optimizer's {name!r} is a {type(entry).__name__}; checkpoints hold tensors, numbers, "
        "text and lists of them"
    )


def _like(saved: object, fresh: object) -> object:
    """`saved` in the container and device of `fresh`."""
    if isinstance(fresh, Tensor) and isinstance(saved, bool | int | float):
        return torch.tensor(saved, dtype=fresh.dtype, device=fresh.device)
    if isinstance(fresh, tuple) and isinstance(saved, list):
        return tuple(saved)
    return saved


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Put what `optimizer_state` returned back into a fresh optimizer of the same kind."""
    fresh = optimizer.state_dict()["param_groups"]
    groups = values["param_groups"]
    if [group["params"] for group in fresh] != [group["params"] for group in groups]:
        raise CheckpointError(
            "the checkpoint's optimizer has other parameter groups than the recipe's; resume with "
            "the recipe that began the run"
        )
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    for index, entries in values["state"].items():
        state.setdefault(int(index), {}).update(entries)
    param_groups = [
        {key: _like(saved, now.get(key)) for key, saved in group.items()}
        for group, now in zip(groups, fresh, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": param_groups})
