"""What an evaluation found: per attack, per class and per image, as tables and as JSON.

Axes: n images, c classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from statformer.pretraining.checkpoint import write_atomically
from statformer.robust.attack_library import ENSEMBLE
from statformer.robust.classes import spread

__all__ = ["RobustnessTable", "Stage"]

CLEAN, ALL = "clean", "all"


@dataclass(frozen=True)
class Stage:
    """One attack on all images.

    predicted      the class each attacked image is given, in eval mode, computed anew
    n_outside      images that the library left outside the ball or [0, 1]; they were put back
    n_mismatched   images of which the library claims another outcome than that prediction shows
    """

    predicted: Int[np.ndarray, " n"]
    seconds: float
    n_outside: int = 0
    n_mismatched: int = 0


@dataclass(frozen=True)
class RobustnessTable:
    """Predictions under every attack, and what they add up to.

    An image is robust under an attack where it is classified correctly both as it is and as the
    attack leaves it (the image itself is in the ball), so that no accuracy exceeds the clean one.

    labels     the true classes, in the order of the loader
    stages     by name: "clean", the attacks, and the parts of the ensemble, which go on from each
               other: "square" is what is left after all four
    attacks    those asked for
    settings   what was asked, of which network (SHA-256 of its weights) and images
    stage_of   the stage after which an ensemble asked for is complete
    warnings   what makes the numbers suspicious
    """

    labels: Int[np.ndarray, " n"]
    stages: Mapping[str, Stage]
    attacks: tuple[str, ...]
    settings: Mapping[str, Any]
    stage_of: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def per_sample(self) -> pd.DataFrame:
        """A line per image: its label, and the class it is given under each attack."""
        columns = {name: stage.predicted for name, stage in self._reported().items()}
        return pd.DataFrame({"label": self.labels, **columns})

    def robust(self, attack: str) -> Bool[np.ndarray, " n"]:
        """Which images are right as they are and under an attack; "clean" and "all" likewise.

        Raises KeyError for an attack that was not asked for.
        """
        return self._robust()[attack]

    @property
    def per_class(self) -> pd.DataFrame:
        """A line per attack and class: attack, label, n_images, accuracy (NaN without an image)."""
        lines = []
        counts = np.bincount(self.labels, minlength=self.settings["n_classes"])
        for name, robust in self._robust().items():
            right = np.bincount(self.labels[robust], minlength=self.settings["n_classes"])
            for label, (n_right, n) in enumerate(zip(right, counts, strict=True)):
                accuracy = n_right / n if n else math.nan
                lines.append((name, label, int(n), accuracy))
        return pd.DataFrame(lines, columns=["attack", "label", "n_images", "accuracy"])

    @property
    def summary(self) -> pd.DataFrame:
        """A line per attack, "clean" first and "all" (robust under every attack) last.

        attack, accuracy; over the classes worst, std and range; n_images; n_outside, n_mismatched
        and seconds as in `Stage`, those of an ensemble summed over its parts, of "all" over all.
        """
        by_class = self.per_class.groupby("attack", sort=False)["accuracy"]
        lines = []
        for name, robust in self._robust().items():
            classes = spread(by_class.get_group(name).to_numpy())
            ran = [self.stages[part] for part in self._parts_of(name)]
            lines.append(
                {
                    "attack": name,
                    "accuracy": float(robust.mean()),
                    "worst": classes.worst,
                    "std": classes.std,
                    "range": classes.range,
                    "n_images": len(self.labels),
                    "n_outside": sum(stage.n_outside for stage in ran),
                    "n_mismatched": sum(stage.n_mismatched for stage in ran),
                    "seconds": sum(stage.seconds for stage in ran),
                }
            )
        return pd.DataFrame(lines)

    @property
    def parts(self) -> pd.DataFrame:
        """A line per part of the ensemble: part, accuracy after it, seconds."""
        clean = self._right(CLEAN)
        lines = [
            (name, float((clean & self._right(name)).mean()), stage.seconds)
            for name, stage in self.stages.items()
            if name in ENSEMBLE
        ]
        return pd.DataFrame(lines, columns=["part", "accuracy", "seconds"])

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON has it; NaN is null."""
        return {
            "settings": dict(self.settings),
            "warnings": list(self.warnings),
            **{name: _records(getattr(self, name)) for name in ("summary", "parts", "per_class")},
            "labels": self.labels.tolist(),
            "stages": {
                name: {**vars(stage), "predicted": stage.predicted.tolist()}
                for name, stage in self.stages.items()
            },
        }

    def write(self, path: str | Path) -> None:
        """Write `to_json` to a file, replaced whole."""
        text = json.dumps(self.to_json(), allow_nan=False) + "\n"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), text.encode())

    def _parts_of(self, name: str) -> list[str]:
        """The stages that made what is reported as `name`."""
        if name == ALL:
            return list(self.stages)
        if name in (CLEAN, *self.stages):
            return [name]
        chain = [stage for stage in self.stages if stage in ENSEMBLE]
        return chain[: chain.index(self.stage_of[name]) + 1]

    def _reported(self) -> dict[str, Stage]:
        """The stage of "clean" and of every attack asked for that has run."""
        stages = {name: self.stage_of.get(name, name) for name in (CLEAN, *self.attacks)}
        return {name: self.stages[at] for name, at in stages.items() if at in self.stages}

    def _right(self, stage: str) -> np.ndarray:
        return np.asarray(self.stages[stage].predicted == self.labels)

    def _robust(self) -> dict[str, np.ndarray]:
        """Which images are robust, by attack, and under all of them where there are several."""
        clean = self._right(CLEAN)
        robust = {
            name: clean & (stage.predicted == self.labels)
            for name, stage in self._reported().items()
        }
        if len(robust) > 2:
            robust[ALL] = np.logical_and.reduce(list(robust.values()))
        return robust


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(name): None if isinstance(value, float) and math.isnan(value) else value
            for name, value in line.items()
        }
        for line in frame.to_dict("records")
    ]
