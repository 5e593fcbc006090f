"""Put the result of a training run into the package: weights, card and manifest entry.

`python -m statformer.weights.pack RUN_FOLDER [CLUSTERER_FOLDER]` is what a release runs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from statformer.weights.reader import WeightsError
from statformer.weights.store import PACKAGE_FOLDER, load_weights, sha256, weight_file


def write_weights(
    source: str | Path,
    clusterer: str | Path | None = None,
    *,
    name: str = "mixture",
    folder: Path = PACKAGE_FOLDER,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Copy a checkpoint into `folder` as NAME.safetensors and NAME.json; update manifest.json.

    Parameters
    ----------
    source : path
        A folder with `final.safetensors` and `card.json`, or a safetensors file.
    clusterer : path, optional
        The run that trained the layers, where `source` trained the judge on top of them; its card
        is kept under "clusterer".
    name : str
        What `load_weights` will call it.
    folder : Path
        Where the manifest is; the package by default.
    card : mapping, optional
        Entries to add to the card of the run.

    Returns the path of the weight file. Raises what `load_weights` raises, and WeightsError where
    the layers of the two runs differ.
    """
    weights, found = load_weights(Path(source))
    if clusterer is not None:
        found["clusterer"] = _card_of_layers(Path(clusterer), weights)
    found["n_parameters"] = sum(int(value.size) for value in weights.values())
    described = {**found, **(card or {})}
    described.pop("sha256")
    text = json.dumps(described, indent=1, sort_keys=True) + "\n"
    parts = {
        "weights": (f"{name}.safetensors", weight_file(Path(source)).read_bytes()),
        "card": (f"{name}.json", text.encode()),
    }
    entry = {}
    for part, (file, data) in parts.items():
        write_atomically(folder / file, data)
        entry[part] = {"file": file, "sha256": sha256(data), "size": len(data)}
    _update_manifest(folder / "manifest.json", name, entry)
    return folder / parts["weights"][0]


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, then rename: a reader sees the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _card_of_layers(clusterer: Path, weights: Mapping[str, Any]) -> dict[str, Any]:
    layers, card = load_weights(clusterer)
    if not all(np.array_equal(weights.get(key, np.nan), value) for key, value in layers.items()):
        raise WeightsError(f"clusterer={str(clusterer)!r}: its layers are not those of the source")
    return card


def _update_manifest(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    manifest[name] = entry
    write_atomically(path, (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    print(write_weights(*sys.argv[1:3]))
