"""Put the result of a training run into the package: weights, card and manifest entry.

`python -m statformer.weights.pack RUN_FOLDER [CLUSTERER_FOLDER]` is what a release runs for
mixtures, `python -m statformer.weights.pack principal ROWS_FOLDER CELLS_FOLDER` for principal
components, `python -m statformer.weights.pack run NAME FOLDER` for a network of research.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

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
    return _write(name, folder, weight_file(Path(source)).read_bytes(), described)


def join_weights(
    sources: Sequence[str | Path], *, name: str = "principal", folder: Path = PACKAGE_FOLDER
) -> Path:
    """One checkpoint of several runs whose keys differ, their cards by the first word of the keys.

    Returns the path of the weight file. Raises what `load_weights` raises, and WeightsError where
    two runs have a key in common.
    """
    joined: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for source in sources:
        weights, card = load_weights(Path(source))
        twice = sorted(weights.keys() & joined.keys())
        if twice:
            raise WeightsError(f"{source}: {twice[0]!r} is in another of the runs, too")
        joined |= {key: np.asarray(value, np.float32) for key, value in weights.items()}
        described[min(weights).partition(".")[0]] = card
    described["n_parameters"] = sum(int(value.size) for value in joined.values())
    return _write(name, folder, save(joined), described)


def write_run(source: str | Path, *, name: str, folder: Path = PACKAGE_FOLDER) -> Path:
    """Ship a run as it is, of a network that `load_weights` does not know: one for research.

    Its layer of the package has its own loader, by `store.shipped_files`. Returns the path of the
    weight file. Raises FileNotFoundError where a file of the run is missing, WeightsError where the
    weights are not those of the card.
    """
    path = weight_file(Path(source))
    data = path.read_bytes()
    card = json.loads((path.parent / "card.json").read_text())
    if card.get("sha256") != sha256(data):
        raise WeightsError(f"{path}: its SHA-256 is not the one on its card")
    return _write(name, folder, data, card)


def _write(name: str, folder: Path, data: bytes, card: Mapping[str, Any]) -> Path:
    """The two files of a checkpoint and its entry in the manifest."""
    text = json.dumps(card, indent=1, sort_keys=True) + "\n"
    parts = {
        "weights": (f"{name}.safetensors", data),
        "card": (f"{name}.json", text.encode()),
    }
    entry = {}
    for part, (file, content) in parts.items():
        write_atomically(folder / file, content)
        entry[part] = {"file": file, "sha256": sha256(content), "size": len(content)}
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
    if sys.argv[1] == "principal":
        print(join_weights(sys.argv[2:]))
    elif sys.argv[1] == "run":
        print(write_run(sys.argv[3], name=sys.argv[2]))
    else:
        print(write_weights(*sys.argv[1:3]))
