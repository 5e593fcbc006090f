"""Fitted models as one file: a safetensors file whose metadata is a JSON document, never a pickle.

`save` writes beside the target and renames; `load` checks sizes, names, shapes and values before
a model exists. Rows of the fitted table are not in the file, nor is the trace.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from safetensors.numpy import save as to_bytes

from statformer.batch import Centres, Readout
from statformer.estimators.cells import CellLayout
from statformer.estimators.columns import Column
from statformer.estimators.context import Standardizer
from statformer.estimators.density import FrozenMixture
from statformer.estimators.table import TableEncoder
from statformer.weights import WeightsError, read_safetensors
from statformer.weights.pack import write_atomically
from statformer.weights.reader import parse_object

if TYPE_CHECKING:
    from statformer.estimators.mixture import AttentionMixture

FORMAT = "statformer.AttentionMixture"
VERSION = 2  # 2: cells are read as they are, categories have shares
MAX_MODEL_BYTES = 2**30
SCORES = ("expected_ari", "out_of_depth")  # numbers of the fit that travel; NaN as null
_SCHEMA: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "version": int,
    "params": dict,
    "columns": list,
    "feature_names_in": (list, type(None)),
    "n_features_in": int,
    "covariance_type": str,
    "residual": float,
    "weights_sha256": str,
    "has_cells": bool,
}


def save_model(model: AttentionMixture, path: str | Path) -> None:
    """Write a fitted model to `path`, replacing what is there only when all is written."""
    mixture: FrozenMixture = model._mixture
    s, c, r = mixture.standardizer, mixture.centres, mixture.readout
    names = getattr(model, "feature_names_in_", None)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "params": {k: _plain(k, v) for k, v in model.get_params(deep=False).items()},
        "columns": [[col.name, col.fill, list(col.categories)] for col in model._encoder.columns],
        "feature_names_in": None if names is None else [str(name) for name in names],
        "n_features_in": int(model.n_features_in_),
        "covariance_type": mixture.covariance_type,
        "residual": float(s.residual),
        "weights_sha256": model.weights_sha256_,
        "has_cells": mixture.layout is not None,
        "doubt": float(mixture.doubt),
        "cluster_names": [int(name) for name in model.cluster_names_],
        "n_names": int(model._n_names),
        "matched": _matched(model),
        "scores": {key: _finite(getattr(model, f"{key}_", np.nan)) for key in SCORES},
    }
    arrays = {
        "centre": s.centre,
        "scale": s.scale,
        "weights": c.weights[0],
        "means": c.means[0],
        "covariances": c.covariances[0],
        "temperature": r.temperature,
        "strength": r.strength,
        "rho": r.rho[0],
        "nu": r.nu[0],
        "n_components_proba": model.n_components_proba_,
    }
    if c.categories is not None:
        arrays["categories"] = c.categories[0]
    if mixture.owner is not None:
        arrays["owner"] = mixture.owner
    if s.directions is not None and s.origin is not None:
        arrays |= {"origin": s.origin, "directions": s.directions}
    ready = {key: np.ascontiguousarray(value, dtype=np.float64) for key, value in arrays.items()}
    text = json.dumps(document, sort_keys=True, allow_nan=False)
    write_atomically(Path(path), to_bytes(ready, metadata={"statformer": text}))


def load(path: str | Path) -> AttentionMixture:
    """The fitted model that `AttentionMixture.save` wrote to `path`.

    Raises FileNotFoundError, or WeightsError where the file is damaged, foreign, of another
    version, or does not follow the schema. `labels_` and `trace_` describe the rows of the fitted
    table and do not travel.
    """
    from statformer.estimators.mixture import AttentionMixture

    path = Path(path)
    arrays, metadata, _ = read_safetensors(path, MAX_MODEL_BYTES)
    if "statformer" not in metadata:
        raise WeightsError(f"{path}: safetensors, but no model saved by statformer")
    document = parse_object(path, metadata["statformer"])
    _check_document(path, document)
    encoder = _encoder(path, document)
    mixture = _mixture(path, document, arrays, encoder)
    try:
        model = AttentionMixture(**document["params"])
    except TypeError as error:
        raise WeightsError(f"{path}: parameters of another estimator ({error})") from None
    if document["feature_names_in"] is not None:
        model.feature_names_in_ = np.array(document["feature_names_in"], dtype=object)
    model.n_features_in_ = document["n_features_in"]
    model.weights_sha256_ = document["weights_sha256"]
    model.n_components_proba_ = arrays["n_components_proba"]
    model._encoder = encoder
    model._adopt(mixture)
    _recall(path, model, document)
    return model


def _matched(model: AttentionMixture) -> list[list[float]] | None:
    """Previous number and overlap of each cluster, where the model was aligned to another."""
    if not hasattr(model, "matched_"):
        return None
    pairs = zip(model.matched_, model.match_overlap_, strict=True)
    return [[int(number), float(overlap)] for number, overlap in pairs]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _recall(path: Path, model: AttentionMixture, document: dict[str, Any]) -> None:
    """The names of the clusters and the scores of the fit; files of earlier versions have none."""
    c = model.n_components_
    names = document.get("cluster_names", list(range(c)))
    n_names = document.get("n_names", c)
    matched, scores = document.get("matched"), document.get("scores", {})
    if not _are_names(names, n_names, c):
        raise WeightsError(f"{path}: cluster_names {names!r} do not name {c} clusters")
    model.cluster_names_, model._n_names = np.array(names, dtype=np.int64), n_names
    if matched is not None:
        if not (isinstance(matched, list) and len(matched) == c and all(map(_is_match, matched))):
            raise WeightsError(f"{path}: matched {matched!r} does not describe {c} clusters")
        model.matched_ = np.array([number for number, _ in matched], dtype=np.int64)
        model.match_overlap_ = np.array([overlap for _, overlap in matched], dtype=np.float64)
    for key in SCORES:
        value = scores.get(key) if isinstance(scores, dict) else scores
        if value is not None and not _is_number(value):
            raise WeightsError(f"{path}: {key!r} is {value!r}, not a number")
        setattr(model, f"{key}_", np.nan if value is None else float(value))


def _are_names(names: Any, n_names: Any, c: int) -> bool:
    """Distinct whole numbers from 0 to n_names - 1, one for each cluster."""
    if not isinstance(names, list) or not all(type(v) is int for v in [*names, n_names]):
        return False
    return len(set(names)) == len(names) == c and all(0 <= name < n_names for name in names)


def _is_match(pair: Any) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and type(pair[0]) is int
        and pair[0] >= -1
        and _is_number(pair[1])
        and 0 <= pair[1] <= 1 + 1e-9
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def _check_document(path: Path, document: dict[str, Any]) -> None:
    for key, kind in _SCHEMA.items():
        if not isinstance(document.get(key, _SCHEMA), kind):
            raise WeightsError(f"{path}: the model document has no valid {key!r}")
    if document["format"] != FORMAT:
        raise WeightsError(f"{path}: holds {document['format']!r}, expected {FORMAT!r}")
    if document["version"] != VERSION:
        raise WeightsError(
            f"{path}: model version {document['version']}, this statformer reads {VERSION}"
        )
    if document["covariance_type"] not in {"full", "diag", "tied", "spherical"}:
        raise WeightsError(f"{path}: covariance_type {document['covariance_type']!r} is unknown")
    if not 0 < document["residual"] < np.inf:
        raise WeightsError(f"{path}: residual {document['residual']} is not a variance")


def _encoder(path: Path, document: dict[str, Any]) -> TableEncoder:
    columns = []
    for entry in document["columns"]:
        match entry:
            case [str(name), int() | float() as fill, list(categories)] if all(
                isinstance(word, str) for word in categories
            ):
                columns.append(Column(name, float(fill), tuple(categories)))
            case _:
                raise WeightsError(f"{path}: {entry!r} does not describe a column")
        last = columns[-1]
        if not np.isfinite(last.fill) or (
            last.categories and last.fill not in range(len(last.categories))
        ):
            raise WeightsError(f"{path}: column {last.name!r} has no fill value {last.fill}")
    names = document["feature_names_in"]
    if names is not None and not all(isinstance(name, str) for name in names):
        raise WeightsError(f"{path}: the names of the columns are not all text")
    n = document["n_features_in"]
    if n < 1 or len(columns) != n or (names is not None and len(names) != n):
        raise WeightsError(f"{path}: {len(columns)} columns described, {n} expected")
    return TableEncoder(tuple(columns))


def _mixture(
    path: Path, document: dict[str, Any], arrays: dict[str, Any], encoder: TableEncoder
) -> FrozenMixture:
    """The arrays as a mixture, each of the shape that the others ask for."""
    layout = CellLayout.of(encoder.columns) if document["has_cells"] else None
    d = encoder.n_features if layout is None else len(layout.numbers)
    if "means" not in arrays or arrays["means"].ndim != 2:
        raise WeightsError(f"{path}: no means of the components")
    c, p = arrays["means"].shape
    projected = "directions" in arrays
    shapes: dict[str, tuple[int, ...]] = {
        "centre": (d,),
        "scale": (d,),
        "weights": (c,),
        "means": (c, p),
        "covariances": (c, p, p),
        "temperature": (1,),
        "strength": (1,),
        "rho": (c,),
        "nu": (c,),
    }
    shapes |= {"origin": (d,), "directions": (d, p)} if projected else {}
    shapes |= {"owner": (c,)} if "owner" in arrays else {}
    if layout is not None and layout.blocks:
        shapes["categories"] = (c, layout.n_categories)
    for key, shape in shapes.items():
        value = arrays.get(key)
        if value is None or value.shape != shape or value.dtype != np.float64:
            raise WeightsError(f"{path}: {key!r} is missing or not float64 of shape {shape}")
    extra = set(arrays) - set(shapes) - {"n_components_proba"}
    proba = arrays.get("n_components_proba")
    misfit = (not projected and p != d) or (projected and layout is not None)
    if extra or proba is None or proba.ndim != 1 or misfit:
        raise WeightsError(f"{path}: arrays {sorted(arrays)} do not make a mixture in {d} columns")
    _check_values(path, arrays)
    if "categories" in arrays:
        _check_shares(path, arrays["categories"], layout)
    standardizer = Standardizer(
        arrays["centre"],
        arrays["scale"],
        arrays.get("origin"),
        arrays.get("directions"),
        document["residual"],
    )
    centres = Centres(
        arrays["weights"][None],
        arrays["means"][None],
        arrays["covariances"][None],
        np.ones((1, c), dtype=bool),
        arrays["categories"][None] if "categories" in arrays else None,
    )
    readout = Readout(
        arrays["temperature"], arrays["strength"], arrays["rho"][None], arrays["nu"][None]
    )
    doubt = document.get("doubt", 0.0)
    if not (_is_number(doubt) and 0.0 <= doubt <= 1.0):
        raise WeightsError(f"{path}: doubt {doubt!r} is not a share")
    owner = _owner(path, arrays["owner"]) if "owner" in arrays else None
    kind = document["covariance_type"]
    return FrozenMixture(standardizer, centres, readout, kind, layout, owner, float(doubt))


def _owner(path: Path, values: Any) -> Int[np.ndarray, " c"]:
    """Whole numbers 0, 1, ..., each there at least once."""
    owner = values.astype(np.int64)
    if (owner != values).any() or not np.array_equal(np.unique(owner), np.arange(owner.max() + 1)):
        raise WeightsError(f"{path}: 'owner' does not say which cluster a component belongs to")
    found: Int[np.ndarray, " c"] = owner
    return found


def _check_shares(path: Path, theta: Any, layout: CellLayout | None) -> None:
    """Shares of categories: none negative, those of a column sum to 1 in every component."""
    first = 0
    for size in () if layout is None else layout.sizes:
        shares = theta[:, first : first + size]
        if (shares < 0).any() or not np.allclose(shares.sum(axis=1), 1.0, atol=1e-9):
            raise WeightsError(f"{path}: the shares of a categorical column do not sum to 1")
        first += size


def _check_values(path: Path, arrays: dict[str, Any]) -> None:
    if not all(np.isfinite(value).all() for value in arrays.values()):
        raise WeightsError(f"{path}: holds values that are not finite")
    weights, covariances = arrays["weights"], arrays["covariances"]
    positive = all((arrays[key] > 0).all() for key in ("scale", "temperature", "nu", "weights"))
    if not len(weights) or not positive or abs(weights.sum() - 1.0) > 1e-9:
        raise WeightsError(f"{path}: weights, scales or temperature are not those of a mixture")
    rho, proba = arrays["rho"], arrays["n_components_proba"]
    if (rho < 0).any() or (rho > 1).any():
        raise WeightsError(f"{path}: rho is not between 0 and 1")
    if (proba < 0).any() or abs(proba.sum() - 1.0) > 1e-6:
        raise WeightsError(f"{path}: n_components_proba does not sum to 1")
    if not np.allclose(covariances, np.swapaxes(covariances, 1, 2)):
        raise WeightsError(f"{path}: a covariance is not symmetric")
    try:
        np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        raise WeightsError(f"{path}: a covariance is not positive definite") from None


def _plain(name: str, value: Any) -> Any:
    """A constructor argument as JSON; generators and devices are not part of a model."""
    if name in {"random_state", "device"} and not isinstance(value, (int, str, type(None))):
        return None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
