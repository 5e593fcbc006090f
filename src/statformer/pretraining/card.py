"""The end of a run: weights for others, and a card that says where they come from."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from statformer.pretraining.checkpoint import write_atomically
from statformer.pretraining.recipe import Recipe

__all__ = ["export"]

N_LOSSES = 40


def export(
    recipe: Recipe,
    module: nn.Module,
    weights_path: Path,
    card_path: Path,
    *,
    log: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
) -> None:
    """Write the recipe's exported tensors and the card beside them."""
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in recipe.export(module).items()
    }
    content = safetensors.torch.save(tensors)
    card = {
        "recipe": recipe.name,
        "settings": recipe.settings(),
        **facts,
        "batch_size": recipe.batch_size,
        "ema_decay": recipe.ema_decay,
        "n_parameters": sum(parameter.numel() for parameter in module.parameters()),
        "losses": _thinned(log),
        "evaluations": [_without(line, "event") for line in log if line["event"] == "evaluation"],
        "licence": "Apache-2.0",
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": _versions(),
        "n_threads": torch.get_num_threads(),
        "n_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_atomically(weights_path, content)
    write_atomically(card_path, (json.dumps(card, indent=1) + "\n").encode())


def _without(line: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != name}


def _thinned(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """At most about 40 of the logged losses, evenly spread, the last one included."""
    lines = [
        {"step": line["step"], "loss": line["loss"]}
        for line in log
        if line["event"] == "step" and "loss" in line
    ]
    stride = max(1, -(-len(lines) // N_LOSSES))
    return lines[::-1][::stride][::-1]


def _commit() -> str | None:
    """The commit of this source, with "+changes" when files differ from it; None outside git."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        return done.stdout.strip()

    try:
        # An installed copy may lie inside some other repository, which then knows nothing of it.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder.parent))
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("statformer", "numpy", "safetensors", "accelerate"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
