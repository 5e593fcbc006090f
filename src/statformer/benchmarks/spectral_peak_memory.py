"""Peak memory of one principal component fit above its table, in a process of its own (Linux).

    python -m statformer.benchmarks.spectral_peak_memory METHOD ROWS COLUMNS WEIGHTS

Prints {"peak_bytes": int or null}.
"""

from __future__ import annotations

import json
import sys

from statformer.benchmarks.spectral_cost import estimator, table
from statformer.runs.memory import peak_above


def peak_bytes(name: str, n: int, d: int, weights: str) -> int | None:
    """Largest resident set while fitting, minus the one with the table in memory; None elsewhere.

    A small fit goes first: what Python and its libraries load once is not the table's cost.
    """
    estimator(name, weights).fit(table(200, 10))
    X = table(n, d)
    return peak_above(lambda: estimator(name, weights).fit(X))


if __name__ == "__main__":
    _n, _d = (int(word) for word in sys.argv[2:4])
    _peak = peak_bytes(sys.argv[1], _n, _d, sys.argv[4])
    sys.stdout.write(json.dumps({"peak_bytes": _peak}) + "\n")
