"""What the judge reads about the labelings of one table.

A token is (features of the labeling, features of the run that made it, who made it). The same code
makes training data and answers users.

Axes: m labelings, n rows, f features of a token, g features of a table, e features of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from statformer.nn.judge import Evidence
from statformer.proposals.kinds import KINDS, RUN_FEATURES, STRANGER
from statformer.proposals.labelings import (
    LABELING_FEATURES,
    N_LABELING_FEATURES,
    agreement,
    describe_clusters,
    side_by_side,
)
from statformer.proposals.table_features import TABLE_FEATURES
from statformer.proposals.view import MAX_ROWS, TableView

# Shares near 1, where the last percent tells a clean cut from a poor one; read as -log(1 - share).
SHARP = (
    "same among 5 neighbours",
    "same among 10 neighbours",
    "worst same among 10",
    "kept by a refit",
    "posterior of own",
)
N_SHARP = len(SHARP) + 2
N_RAW_FEATURES = N_LABELING_FEATURES + len(RUN_FEATURES) + len(KINDS) + 1
N_TOKEN_FEATURES = N_RAW_FEATURES + N_SHARP
_BLUNT = 3e-3
N_JUDGE_TABLE = len(TABLE_FEATURES) + 1


@dataclass(frozen=True)
class Labelings:
    """Labelings of one table, described.

    tokens     "m f"  features that do not depend on the company
    agreement  "m m"  adjusted Rand index of each pair
    K          "m"    clusters that were asked for
    table      "g"    features of the table
    """

    tokens: Float[np.ndarray, "m f"]
    agreement: Float[np.ndarray, "m m"]
    K: Int[np.ndarray, " m"]
    table: Float[np.ndarray, " g"]


def view_of(
    X: Float[np.ndarray, "n d"], weight: Float[np.ndarray, " n"], rng: np.random.Generator
) -> tuple[TableView, Int[np.ndarray, " k"]]:
    """A view of at most `MAX_ROWS` rows, and which rows they are."""
    n = len(X)
    if n <= MAX_ROWS:
        return TableView(X, weight), np.arange(n)
    drawn = np.sort(rng.choice(n, MAX_ROWS, replace=False))
    return TableView(X[drawn], weight[drawn]), drawn


def tokens_of(
    view: TableView,
    seen: Int[np.ndarray, "m k"],
    kinds: Int[np.ndarray, " m"],
    features: Float[np.ndarray, "m e"],
) -> Float[np.ndarray, "m f"]:
    """Tokens of labelings of the view's rows; they do not depend on each other."""
    own = describe_clusters(view, side_by_side(view, seen), seen)
    who = (kinds[:, None] == np.arange(len(KINDS))[None, :]).astype(np.float64)
    stranger = (kinds == STRANGER).astype(np.float64)[:, None]
    return sharpened(np.concatenate([own, np.clip(features, -20.0, 20.0), who, stranger], axis=1))


def sharpened(raw: Float[np.ndarray, "m r"]) -> Float[np.ndarray, "m f"]:
    """Raw features behind what magnifies them: -log(1 - share) of `SHARP`, log of the rows off the
    main pieces, and the margin between the shortest edge cut and the longest kept."""
    at = {name: j for j, name in enumerate(LABELING_FEATURES)}
    columns = [-np.log(np.clip(1.0 - raw[:, at[name]], 0.0, None) + _BLUNT) for name in SHARP]
    columns.append(np.log(np.clip(raw[:, at["rows off the main piece"]], 0.0, None) + _BLUNT))
    columns.append(raw[:, at["shortest cut edge"]] - raw[:, at["longest kept edge"]])
    return np.concatenate([np.stack(columns, axis=1), raw], axis=1)


def alike(view: TableView, seen: Int[np.ndarray, "m k"]) -> Float[np.ndarray, "m m"]:
    """Adjusted Rand index of each pair of labelings of the view's rows."""
    return agreement(view, side_by_side(view, seen))


def described(
    view: TableView,
    seen: Int[np.ndarray, "m k"],
    kinds: Int[np.ndarray, " m"],
    features: Float[np.ndarray, "m e"],
    K: Int[np.ndarray, " m"],
    table: Float[np.ndarray, " g"],
) -> Labelings:
    """Labelings of the view's rows, and what is known of the table."""
    return Labelings(tokens_of(view, seen, kinds, features), alike(view, seen), K, table)


def evidence(found: Sequence[Labelings], is_given: Sequence[bool]) -> Evidence:
    """Several tables side by side, padded; is_given says that K is known to be right."""
    m = max(len(one.K) for one in found)
    b = len(found)
    tokens = np.zeros((b, m, N_TOKEN_FEATURES))
    alike = np.zeros((b, m, m))
    K = np.ones((b, m), dtype=np.int64)
    there = np.zeros((b, m), dtype=bool)
    table = np.zeros((b, N_JUDGE_TABLE))
    for i, (one, given) in enumerate(zip(found, is_given, strict=True)):
        k = len(one.K)
        tokens[i, :k] = one.tokens
        alike[i, :k, :k] = one.agreement
        K[i, :k], there[i, :k] = one.K, True
        table[i] = [*one.table, float(given)]
    return Evidence(tokens, table, alike, K, there)
