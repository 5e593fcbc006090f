"""Where jobs run: processes of this machine, a Ray cluster or a Dask cluster; one interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from statformer.runs.jobs import Job, Outcome, Prepare, Work, cores
from statformer.runs.local_engine import run_local

__all__ = ["ENGINES", "Engine", "run_jobs"]

Engine = Literal["local", "ray", "dask"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def run_jobs(
    work: Work,
    jobs: Iterable[Job],
    engine: Engine = "local",
    n_workers: int | None = None,
    address: str | None = None,
    prepare: Prepare | None = None,
) -> Iterator[Outcome]:
    """One outcome for every job, in the order in which they end.

    work       a function of a module that the workers can import
    n_workers  processes of the engine "local", or of a cluster that is started here; all cores of
               this machine where not given
    address    of an existing cluster; None starts one on this machine
    prepare    called by every worker process of the engine "local" before its first job, such as
               imports that should see the sources as they are now

    Jobs with the key of an earlier one are dropped, so nothing is counted twice. Raises ValueError
    for an unknown engine, an address for "local" and fewer than one worker, MissingExtraError where
    Ray or Dask is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}; pass one of {', '.join(ENGINES)}")
    if address is not None and engine == "local":
        raise ValueError(f"address is {address!r}, which needs engine 'ray' or 'dask'")
    n_workers = cores() if n_workers is None else n_workers
    if n_workers < 1:
        raise ValueError(f"n_workers is {n_workers}; pass at least 1")
    unique = list({job.key: job for job in jobs}.values())
    if not unique:
        return
    if engine == "local":
        yield from run_local(work, unique, n_workers, prepare)
    elif engine == "ray":
        from statformer.runs.ray_engine import run_ray

        yield from run_ray(work, unique, n_workers, address)
    else:
        from statformer.runs.dask_engine import run_dask

        yield from run_dask(work, unique, n_workers, address)
