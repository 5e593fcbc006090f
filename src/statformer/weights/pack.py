"""Put the result of a training run into the package: weights, card and manifest entry.

`python -m statformer.weights.pack RUN_FOLDER [NAME]` is what a release runs.
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
from jaxtyping import Float
from safetensors.numpy import save

from statformer.weights.store import PACKAGE_FOLDER, load_weights, sha256


def write_weights(
    source: str | Path,
    name: str = "mixture",
    *,
    folder: Path = PACKAGE_FOLDER,
    card: Mapping[str, Any] | None = None,
    single_precision: bool = True,
) -> Path:
    """Copy a checkpoint into `folder` as NAME.safetensors and NAME.json; update manifest.json.

    Parameters
    ----------
    source : path
        A folder with `final.safetensors` and `card.json`, or a safetensors file.
    name : str
        What `load_weights` will call it.
    folder : Path
        Where the manifest is; the package by default.
    card : mapping, optional
        Entries to add to the card of the run.
    single_precision : bool
        Store as float32 (networks are trained in float32); False keeps float64.

    Returns the path of the weight file. Raises what `load_weights` raises.
    """
    weights, found = load_weights(Path(source))
    dtype = np.float32 if single_precision else np.float64
    arrays: dict[str, Float[np.ndarray, "..."]] = {
        key: np.ascontiguousarray(value, dtype=dtype) for key, value in sorted(weights.items())
    }
    parts = {
        "weights": (f"{name}.safetensors", save(arrays)),
        "card": (f"{name}.json", _card_text({**found, **(card or {})}, arrays)),
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


def _card_text(card: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    described = {key: value for key, value in card.items() if key != "sha256"}
    described["n_parameters"] = sum(int(value.size) for value in arrays.values())
    return (json.dumps(described, indent=2, sort_keys=True) + "\n").encode()


def _update_manifest(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    manifest[name] = entry
    write_atomically(path, (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    print(write_weights(*sys.argv[1:3]))
