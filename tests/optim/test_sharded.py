"""Several processes: copies and shards on any mesh give the path of one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from optim.sharded_worker import (
    MANY,
    OF_FOUR_RANKS,
    OF_TWO_RANKS,
    SINGLE_ROWS,
    Found,
    alone,
    alone_by_hand,
)

pytestmark = pytest.mark.slow
TESTS = Path(__file__).resolve().parent.parent
SECONDS = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_ranks(n_ranks: int, scenarios: Iterable[str], out_dir: Path) -> dict[str, list[Found]]:
    """What every rank found in each scenario; the environment is that of torchrun."""
    shared = {
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_WORLD_SIZE": str(n_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "optim.sharded_worker", str(out_dir), *scenarios],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(n_ranks)
    ]
    try:
        outputs = [process.communicate(timeout=SECONDS)[0].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    failed = [rank for rank, process in enumerate(processes) if process.returncode]
    assert not failed, "\n".join(f"rank {rank}:\n{outputs[rank]}" for rank in failed)
    ranks = [torch.load(out_dir / f"{rank}.pt", weights_only=True) for rank in range(n_ranks)]
    return {scenario: [found[scenario] for found in ranks] for scenario in scenarios}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> dict[str, list[Found]]:
    return on_ranks(2, OF_TWO_RANKS, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def four_ranks(tmp_path_factory) -> dict[str, list[Found]]:
    return on_ranks(4, OF_FOUR_RANKS, tmp_path_factory.mktemp("four"))


def assert_like_one_process(found: list[Found], expected: Found) -> None:
    for rank in found:
        assert len(rank["params"]) == len(expected["params"])
        for p, q in zip(rank["params"], expected["params"], strict=True):
            torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(
            torch.tensor(rank["etas"]), torch.tensor(expected["etas"]), rtol=1e-6, atol=0.0
        )
        assert rank["etas"] == found[0]["etas"]  # to the bit: ranks never drift apart
    assert max(expected["etas"][-1]) > 2e-2  # the distance was felt


def one_all_reduce(found: list[Found]) -> bool:
    return all(
        sum(rank["collectives"].values()) == 1 and "allreduce" in next(iter(rank["collectives"]))
        for rank in found
    )


def test_ddp_is_one_process(two_ranks):
    found = two_ranks["ddp"]
    assert_like_one_process(found, alone())
    assert not any(rank["collectives"] for rank in found)  # the distance is known everywhere


@pytest.mark.parametrize(
    ("scenario", "case", "options"),
    [
        ("fsdp", "ema", {}),
        ("fsdp AdaGrad++", "AdaGrad++", {}),
        ("fsdp per group", "ema_max", {"scope": "group"}),
        ("fsdp capturable", "ema", {}),
    ],
)
def test_shards_of_unequal_sizes_are_one_process(scenario, case, options, two_ranks):
    found = two_ranks[scenario]
    assert found[0]["sizes"] != found[1]["sizes"]
    assert 0 in found[1]["sizes"]
    assert_like_one_process(found, alone(case, **options))
    assert one_all_reduce(found)


def test_the_start_without_eta0_is_that_of_one_process(two_ranks):
    found = two_ranks["fsdp without eta0"]
    assert_like_one_process(found, alone("ema", eta0=None))


def test_shards_with_copies_are_one_process(four_ranks):
    found = four_ranks["hsdp"]
    assert_like_one_process(found, alone())
    assert one_all_reduce(found)


def test_a_rank_that_holds_nothing_takes_part(two_ranks):
    found = two_ranks["rank without shards"]
    assert found[0]["n_gradients"] > 0
    assert found[1]["n_gradients"] == 0
    assert_like_one_process(found, alone_by_hand(SINGLE_ROWS))
    assert one_all_reduce(found)


@pytest.mark.parametrize("scenario", ["replicated", "two axes"])
def test_copies_are_counted_once(scenario, two_ranks, four_ranks):
    found = (two_ranks | four_ranks)[scenario]
    assert_like_one_process(found, alone_by_hand(MANY))
    assert one_all_reduce(found)


@pytest.mark.parametrize("scenario", ["checkpoint", "whole checkpoint"])
def test_a_checkpoint_of_shards_goes_on(scenario, two_ranks):
    found = two_ranks[scenario]
    for rank in found:
        for p, q in zip(rank["params"], rank["went_on"], strict=True):
            assert torch.equal(p, q)
        assert rank["etas"][-1] == rank["eta_went_on"]
    expected: Any = alone()
    for p, q in zip(found[0]["params"], expected["params"], strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


def test_the_comparison_sees_a_distance_that_is_counted_twice(two_ranks):
    """The check can fail: one tensor more in the distance, and the path is another."""
    found = two_ranks["replicated"]
    with pytest.raises(AssertionError):
        assert_like_one_process(found, alone_by_hand([*MANY[:-1], 2.0 * MANY[-1]]))
