"""The principal weights that ship: golden predictions, and what they promise on plain tables.

These tests fail, and do not skip, where the package has no weights: they are part of the product.
`python tests/nn/test_principal_pretrained.py` rewrites the golden predictions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from statformer.nn.principal import FORMS, Form, PrincipalNetwork, PrincipalTrace
from statformer.weights import load_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "principal.json"
K = 2


def shipped(form: Form) -> PrincipalNetwork:
    weights, _ = load_weights("principal")
    prefix = f"{form}."
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    return PrincipalNetwork(own, form)


def table(kind: str, seed: int = 0, n: int = 100, d: int = 10) -> tuple[np.ndarray, ...]:
    """X "1 n d", the mask or None, and the true basis "k d"."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, K)))[0].T
    X = rng.normal(size=(n, K)) * [4.0, 3.0] @ basis + rng.normal(size=(n, d)) + 3.0
    observed = None
    if kind in ("rows", "both"):
        X[:15] = 3.0 + 10.0 * rng.normal(size=(1, d)) + 2.0 * rng.normal(size=(15, d))
    if kind in ("cells", "both"):
        wrong = rng.random(X.shape) < 0.08
        X = np.where(wrong, 3.0 + 20.0 * rng.choice([-1.0, 1.0], X.shape), X)
    if kind in ("missing", "both"):
        observed = (rng.random((1, n, d)) > 0.3) | (np.arange(d) == np.arange(n)[:, None] % d)
        X = np.where(observed[0], X, 0.0)
    return X[None], observed, basis


def angle(trace: PrincipalTrace, basis: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.linalg.svd(trace.components[0] @ basis.T)[1].min())))


def pca_angle(X: np.ndarray, basis: np.ndarray) -> float:
    V = np.linalg.svd(X[0] - X[0].mean(0))[2][:K]
    return float(np.degrees(np.arccos(np.linalg.svd(V @ basis.T)[1].min())))


def predictions() -> dict[str, list]:
    """Numbers without signs: projector, weights, variances, of every form and kind of table."""
    found: dict[str, list] = {}
    for form in FORMS:
        network = shipped(form)
        for kind in ("clean", "rows", "cells", "missing", "both"):
            X, observed, _ = table(kind, n=40, d=6)
            trace = network(X, K, observed=observed, polish=False)
            V = trace.components[0]
            found[f"{form} {kind} projector"] = (V.T @ V).tolist()
            found[f"{form} {kind} row_weights"] = trace.row_weights[0].tolist()
            found[f"{form} {kind} variances"] = trace.variances[0].tolist()
            found[f"{form} {kind} completed"] = trace.completed[0, :5].tolist()
    return found


def test_golden_predictions() -> None:
    golden = json.loads(GOLDEN.read_text())
    found = predictions()
    assert golden.keys() == found.keys()
    for name, expected in golden.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-7, atol=1e-9, err_msg=name)


def test_the_golden_predictions_are_those_of_these_weights() -> None:
    """A network with one weight disturbed does not give them."""
    golden = json.loads(GOLDEN.read_text())
    X, observed, _ = table("both", n=40, d=6)
    for form in FORMS:
        weights = shipped(form).weights
        for name, value in weights.items():
            moved = weights | {name: value + 1e-3}
            trace = PrincipalNetwork(moved, form)(X, K, observed=observed, polish=False)
            off = np.abs(trace.row_weights[0] - golden[f"{form} both row_weights"]).max()
            assert off > 1e-9, name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_on_clean_tables(form: Form, seed: int) -> None:
    X, observed, basis = table("clean", seed)
    trace = shipped(form)(X, K, observed=observed)
    assert angle(trace, basis) < pca_angle(X, basis) + 2.0


@pytest.mark.parametrize(
    ("form", "kind"), [("rows", "rows"), *(("cells", k) for k in ("rows", "cells", "both"))]
)
@pytest.mark.parametrize("seed", range(3))
def test_what_went_wrong_is_left_out(form: Form, kind: str, seed: int) -> None:
    X, observed, basis = table(kind, seed)
    trace = shipped(form)(X, K, observed=observed)
    assert angle(trace, basis) < 20.0 < pca_angle(X, basis)
    if form == "rows":  # form "cells" may leave a row and drop its cells
        assert trace.row_weights[0, :15].max() < 0.3 * np.median(trace.row_weights[0, 15:])


def test_missing_cells_cost_little() -> None:
    for form in FORMS:
        X, observed, basis = table("missing")
        assert angle(shipped(form)(X, K, observed=observed), basis) < 15.0


def test_the_package_stays_small() -> None:
    weights, card = load_weights("principal")
    assert {key.partition(".")[0] for key in weights} == set(FORMS)
    assert sum(value.size for value in weights.values()) * 4 < 300_000
    assert {"rows", "cells", "sha256"} <= card.keys()
    assert card["cells"]["licence"] == "Apache-2.0"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(predictions(), indent=1) + "\n")
    sys.stdout.write(f"wrote {GOLDEN}\n")
