"""Shipped checkpoints by name, others by path; each verified before it is used, without torch.

A checkpoint is a safetensors file and a card, a JSON file that says what was trained how. Those in
the package are listed in `manifest.json` with their sizes and SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.weights.reader import WeightsError, read_bytes, read_json, read_safetensors

PACKAGE_FOLDER = Path(__file__).parent
MAX_WEIGHT_BYTES = 64 * 2**20
MAX_CARD_BYTES = 2**20
# The first words of the keys of each kind of network, and a key that one of its files must have.
PREFIXES = ("em.", "judge.", "depth.")
PRINCIPAL_PREFIXES = ("rows.", "cells.")
PARENT_SET_PREFIX = "sets."


def load_weights(
    name_or_path: str | Path,
) -> tuple[dict[str, Float[np.ndarray, "..."]], dict[str, Any]]:
    """Weights (float64, read-only) and card of a checkpoint.

    Parameters
    ----------
    name_or_path : str or Path
        A name in the package's manifest ("mixture", which "pretrained" means too, "principal",
        "random_dag"), a safetensors file, or a folder that holds `final.safetensors`. The card of a
        file `x.safetensors` is `x.json` or `card.json` beside it; without one the card is empty.

    Returns
    -------
    weights : dict
        Arrays by key, "<part>.<name>". Of a mixture network the parts of `PREFIXES`: the layers,
        the judge (which also holds P(K | X)), and what the training tables looked like. Of a
        principal network its forms, `PRINCIPAL_PREFIXES`, or one of them. Of a network that reads
        parents "sets.<name>".
    card : dict
        The card, and under "sha256" the digest of the file that was read.

    Raises
    ------
    FileNotFoundError
        No such checkpoint or file.
    WeightsError
        The file is not safetensors, damaged, of another network, or not the one in the manifest.
    """
    name = "mixture" if name_or_path == "pretrained" else name_or_path
    manifest = _manifest(PACKAGE_FOLDER)
    if isinstance(name, str) and name in manifest:
        weights, card = _load_shipped(PACKAGE_FOLDER, name)
    elif isinstance(name, str) and "/" not in name and not Path(name).exists():
        known = ", ".join(sorted(manifest)) or "none"
        raise FileNotFoundError(
            f"weights={name_or_path!r}: no checkpoint of this name in the package (there: {known}) "
            "and no such file; pass a path to a .safetensors file"
        )
    else:
        path = weight_file(Path(name))
        stat = path.stat()
        weights, card = _load_file(path, stat.st_mtime_ns, stat.st_size)
    return dict(weights), dict(card)


def sha256(data: bytes) -> str:
    """The SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    return read_json(path, MAX_CARD_BYTES) if path.is_file() else {}


def weight_file(path: Path) -> Path:
    """The safetensors file of a run: the path itself, or `final.safetensors` in a folder."""
    path = path / "final.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"weights={str(path)!r}: no such file")
    return path.resolve()


def shipped_files(name: str, folder: Path = PACKAGE_FOLDER) -> tuple[Path, Path]:
    """The weight file and the card that are shipped as `name`, both as the manifest promises them.

    Raises FileNotFoundError for an unknown name or an absent file, WeightsError where a file is not
    the one in the manifest.
    """
    manifest = _manifest(folder)
    if name not in manifest:
        known = ", ".join(sorted(manifest)) or "none"
        raise FileNotFoundError(f"no checkpoint {name!r} in the package; there: {known}")
    paths = []
    for part in ("weights", "card"):
        expected = manifest[name][part]
        path = folder / expected["file"]
        data = read_bytes(path, MAX_WEIGHT_BYTES)
        if len(data) != expected["size"] or sha256(data) != expected["sha256"]:
            raise WeightsError(
                f"{path}: not the file in the manifest ({len(data)} bytes, {expected['size']} "
                "expected, or another SHA-256); reinstall statformer"
            )
        paths.append(path)
    return paths[0], paths[1]


@lru_cache(maxsize=8)
def _load_shipped(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    weights, card = shipped_files(name, folder)
    return _checked(weights, read_json(card, MAX_CARD_BYTES))


@lru_cache(maxsize=8)
def _load_file(path: Path, _mtime: int, _size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    beside = (path.with_suffix(".json"), path.parent / "card.json")
    card_path = next((p for p in beside if p.is_file()), None)
    card = {} if card_path is None else read_json(card_path, MAX_CARD_BYTES)
    promised = card.get("sha256")
    weights, found = _checked(path, card)
    if promised is not None and promised != found["sha256"]:
        raise WeightsError(f"{path}: its SHA-256 is not the one on the card {card_path}")
    return weights, found


def _checked(path: Path, card: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of `path` as float64, if they are those of a network we know."""
    tensors, _, data = read_safetensors(path, MAX_WEIGHT_BYTES)
    if not any(is_one(tensors) for is_one in (_is_mixture, _is_principal, _is_parent_sets)):
        raise WeightsError(
            f"{path}: not the weights of an EM network, whose keys begin with {PREFIXES}, of a "
            f"principal network ({PRINCIPAL_PREFIXES}), nor of one that reads parents "
            f"({PARENT_SET_PREFIX!r}); found {sorted(tensors)[:5]}"
        )
    weights = {}
    for key, value in tensors.items():
        if value.dtype.kind != "f" or not np.isfinite(value).all():
            raise WeightsError(f"{path}: {key!r} should hold finite floating-point numbers")
        weights[key] = value.astype(np.float64)
        weights[key].flags.writeable = False
    return weights, {**card, "sha256": sha256(data)}


def _is_mixture(tensors: Mapping[str, Any]) -> bool:
    return "em.b_cov" in tensors and all(key.startswith(PREFIXES) for key in tensors)


def _is_principal(tensors: Mapping[str, Any]) -> bool:
    forms = {key.partition(".")[0] for key in tensors}
    known = all(key.startswith(PRINCIPAL_PREFIXES) for key in tensors)
    return bool(forms) and known and all(f"{form}.b_out" in tensors for form in forms)


def _is_parent_sets(tensors: Mapping[str, Any]) -> bool:
    known = all(key.startswith(PARENT_SET_PREFIX) for key in tensors)
    return known and f"{PARENT_SET_PREFIX}b_out" in tensors
