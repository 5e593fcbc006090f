"""Peak memory of one fit above its table, in a process that does nothing else (Linux).

    python -m statformer.benchmarks.peak_memory ROWS COLUMNS K WEIGHTS

Prints {"peak_bytes": int or null}.
"""

from __future__ import annotations

import json
import sys

from statformer.benchmarks.cost import blobs
from statformer.estimators import AttentionMixture
from statformer.runs.memory import peak_above


def peak_bytes(n: int, d: int, n_components: int, weights: str) -> int | None:
    """Largest resident set while fitting, minus the one with the table in memory; None elsewhere.

    A small fit goes first: what Python and its libraries load once is not the table's cost.
    """
    AttentionMixture(2, weights=weights, random_state=0).fit(blobs(200, d, 2))
    X = blobs(n, d, n_components)
    model = AttentionMixture(n_components, weights=weights, random_state=0)
    return peak_above(lambda: model.fit(X))


if __name__ == "__main__":
    _n, _d, _c = (int(word) for word in sys.argv[1:4])
    sys.stdout.write(json.dumps({"peak_bytes": peak_bytes(_n, _d, _c, sys.argv[4])}) + "\n")
