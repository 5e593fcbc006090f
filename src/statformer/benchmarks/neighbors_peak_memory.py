"""Peak memory of nearest neighbours above their data, in a process of its own (Linux).

    python -m statformer.benchmarks.neighbors_peak_memory METHOD ROWS QUERIES COLUMNS DTYPE

Prints {"peak_bytes": int or null}.
"""

from __future__ import annotations

import json
import sys

from statformer.benchmarks.neighbors_cost import searcher, table
from statformer.runs.memory import peak_above


def peak_bytes(name: str, n: int, q: int, d: int, dtype: str) -> int | None:
    """Largest resident set while building and asking, minus the one with the data in memory.

    None elsewhere. Small data go first: what Python and its libraries load once is not their cost.
    """
    X, y, queries = table(200, 10, d, dtype)
    searcher(name, 1).fit(X, y).predict(queries)
    X, y, queries = table(n, q, d, dtype)
    return peak_above(lambda: searcher(name, 1).fit(X, y).predict(queries))


if __name__ == "__main__":
    _n, _q, _d = (int(word) for word in sys.argv[2:5])
    _peak_bytes = peak_bytes(sys.argv[1], _n, _q, _d, sys.argv[5])
    sys.stdout.write(json.dumps({"peak_bytes": _peak_bytes}) + "\n")
