"""The log of a run: one JSON object per line, never ahead of the checkpoint it continues from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from statformer.pretraining.checkpoint import write_atomically

__all__ = ["RunLog", "json_line", "step_sizes"]


def json_line(event: str, step: int, **values: Any) -> str:
    """{"event": event, "step": step, ...} on one line; what is not finite becomes null."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps({"event": event, "step": step, **finite}, allow_nan=False)


class RunLog:
    """Lines {"event", "step", ...} of the file at `path`; "step" counts finished steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, step: int, **values: Any) -> None:
        """Append one line; it has left this process when the call returns."""
        line = json_line(event, step, **values)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; an interrupted last line is left out."""
        if not self.path.exists():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                lines.append(line)
        return lines

    def truncate(self, step: int) -> None:
        """Drop the lines of steps after `step`: a resumed run writes them again."""
        kept = [json.dumps(line) for line in self.read() if line["step"] <= step]
        write_atomically(self.path, "".join(line + "\n" for line in kept).encode())


def step_sizes(optimizer: Optimizer) -> dict[str, float]:
    """The step size that a parameter-free optimizer has found: "eta", or one for each group."""
    groups = [group for group in optimizer.param_groups if "eta" in group]
    found = [group["eta"].item() for group in groups]
    if len(groups) == 1 or any(group.get("scope") == "global" for group in groups):
        return {"eta": found[0]}
    return {f"eta_{i}": eta for i, eta in enumerate(found)}
