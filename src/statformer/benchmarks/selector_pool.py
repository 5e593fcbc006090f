"""The tables from which the boosted trees learn: `python -m statformer.benchmarks.selector_pool`.

Tables of the wide prior with up to 600 rows and two clusters or more, every classical labeling
described and scored. The file grows by steps of a few tables; the same command goes on where it
ended. Axes: b tables, m methods, f features of a labeling, t features of a table.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from statformer.benchmarks import classical
from statformer.benchmarks.rivals import z_scores
from statformer.benchmarks.scores import ari
from statformer.benchmarks.selector import described, families_of
from statformer.benchmarks.sources import Table, wide_table

POOL_FILE = Path("training/selector/pool.safetensors")
SEED = 20_260_000
PER_STEP = 6
SAVE_EVERY = 10  # steps
_NAMES = ("labelings", "table", "ari", "families")


def pool_tables(step: int) -> Iterator[tuple[Table, np.ndarray]]:
    """The tables of a step, and which left-out families each holds."""
    from statformer.tasks.stream import TaskStream
    from statformer.tasks.wide import WidePrior

    prior = WidePrior(
        n_points=(100, 600), n_features=(2, 32), n_components=(2, 12), cell_budget=None
    )
    batch = prior.sample(TaskStream(SEED, step, range(PER_STEP)))
    for i in range(PER_STEP):
        if int(batch.n_components[i]) >= 2:
            table = wide_table(
                batch.X[i].double().numpy(),
                batch.y[i].numpy(),
                int(batch.n_components[i]),
                batch.latent["is_categorical"][i].numpy(),
            )
            yield table, families_of(batch.latent, i)


def scored(table: Table, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of every classical labeling, of the table, and the ARI of each (NaN: it raised)."""
    X = table.plain()
    found = classical.labelings(z_scores(X), table.n_components, seed)
    labelings, of_table = described(X, found)
    scores = [
        np.nan if found[name] is None else ari(table.y, found[name]) for name in classical.POOL
    ]
    return labelings, of_table, np.array(scores)


def grow(path: Path, n_tables: int) -> int:
    """Add tables until the file holds `n_tables`; returns how many it holds."""
    step, columns = _read(path)
    while len(columns["ari"]) < n_tables:
        for i, (table, families) in enumerate(pool_tables(step)):
            labelings, of_table, scores = scored(table, step * PER_STEP + i)
            if labelings.shape[1] > 1:
                row = (labelings, of_table, scores, families)
                for name, value in zip(_NAMES, row, strict=True):
                    columns[name].append(value)
        step += 1
        if step % SAVE_EVERY == 0 or len(columns["ari"]) >= n_tables:
            _write(path, step, columns)
            sys.stderr.write(f"{len(columns['ari'])} of {n_tables} tables\n")
    return len(columns["ari"])


def _read(path: Path) -> tuple[int, dict[str, list[np.ndarray]]]:
    if not path.is_file():
        return 0, {name: [] for name in _NAMES}
    with safe_open(path, "np") as file:
        step = int(file.metadata()["step"])
        return step, {name: list(file.get_tensor(name)) for name in _NAMES}


def _write(path: Path, step: int, columns: dict[str, list[np.ndarray]]) -> None:
    """Half precision: features lie within +-20 and scores within 1."""
    arrays = {
        name: np.stack(rows).astype(np.uint8 if name == "families" else np.float16)
        for name, rows in columns.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(arrays, part, {"step": str(step), "methods": ",".join(classical.POOL)})
    part.chmod(0o644)  # as other files of the repository
    part.replace(path)


def main() -> None:
    """Read the options and grow the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=POOL_FILE)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grow(options.out, options.tables)


if __name__ == "__main__":
    main()
