"""Real processes: a run killed with SIGKILL, and two gloo ranks that share a batch."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pretraining.toy_recipe import ToyRecipe
from statformer.pretraining import pretrain

TESTS = Path(__file__).resolve().parent.parent
RECIPE = "pretraining.toy_recipe:recipe"


def command(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """`python -m statformer.pretraining` in a process of its own."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "statformer.pretraining", RECIPE, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes], seconds: float = 120) -> bytes:
    output, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors.decode()
    return output


def wait_for_step(process: subprocess.Popen[bytes], step: int) -> None:
    """Read the process's lines until it reports `step`."""
    for line in process.stdout:
        progress = json.loads(line)
        if progress["event"] == "step" and progress["step"] >= step:
            return
    raise AssertionError(process.stderr.read().decode())


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    n_steps, pause = 150, 0.004
    recipe = ToyRecipe(seconds_per_step=pause)
    options = ["--option", f"seconds_per_step={pause}", "--checkpoint-every", "0.02"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pretrain(recipe, out_dir=whole, n_steps=n_steps)
    start = ["--steps", str(n_steps), "--out", str(killed)]
    for lowest in (10, 60):
        process = command(*start, *options)
        wait_for_step(process, lowest + random.randrange(30))
        time.sleep(random.random() * 0.02)  # anywhere in a step, or in a checkpoint
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (killed / "final.safetensors").exists()
        start = ["--resume", str(killed)]
    finish(command(*start, *options))
    assert (killed / "final.safetensors").read_bytes() == (whole / "final.safetensors").read_bytes()
    logged = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "resume" for line in logged) >= 1
    steps = [line["step"] for line in logged if line["event"] == "step"]
    assert steps == list(range(3, n_steps + 1, 3))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_ranks(n_ranks: int, *arguments: str) -> list[bytes]:
    """What `accelerate launch` and `torchrun` do: set the environment of every rank."""
    shared = {
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_WORLD_SIZE": str(n_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        command(*arguments, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
        for rank in range(n_ranks)
    ]
    try:
        return [finish(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


def largest_gap(first: Path, second: Path) -> float:
    one, two = load_file(first / "final.safetensors"), load_file(second / "final.safetensors")
    assert one.keys() == two.keys()
    return max((one[name].double() - two[name].double()).abs().max().item() for name in one)


@pytest.mark.slow
def test_two_ranks_with_half_the_batch_agree_with_one(tmp_path):
    two, one, other = tmp_path / "two", tmp_path / "one", tmp_path / "other"
    outputs = on_ranks(2, "--steps", "40", "--out", str(two))
    assert b'"event": "end"' in outputs[0]
    assert outputs[1] == b""  # the second rank is silent
    pretrain(ToyRecipe(), out_dir=one, n_steps=40)
    assert largest_gap(two, one) < 1e-5
    assert json.loads((two / "card.json").read_text())["n_ranks"] == 2
    # The second rank's tasks matter: half the batch alone ends elsewhere.
    pretrain(ToyRecipe(batch_size=8), out_dir=other, n_steps=40)
    assert largest_gap(two, other) > 1e-4


@pytest.mark.slow
def test_two_ranks_resume_what_one_began(tmp_path):
    one, both = tmp_path / "one", tmp_path / "both"
    pretrain(ToyRecipe(), out_dir=one, n_steps=40)

    def stop(progress) -> None:
        if progress.event == "step" and progress.step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(ToyRecipe(), out_dir=both, n_steps=40, callback=stop, checkpoint_every_s=0)
    on_ranks(2, "--resume", str(both))
    assert largest_gap(both, one) < 1e-5


@pytest.mark.slow
def test_minutes_agree_between_ranks(tmp_path):
    """Both ranks must hold the same number of steps, or one of them waits for ever."""
    on_ranks(2, "--minutes", "0.02", "--out", str(tmp_path / "run"))
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["n_steps"] >= 1


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
    from statformer.pretraining.launcher import Launcher

    with pytest.raises(ValueError, match="batch_size 16 does not divide among 3 ranks"):
        Launcher(rank=1, n_ranks=3, device=None).tasks(16)
    assert Launcher(rank=1, n_ranks=2, device=None).tasks(16) == range(8, 16)


def test_the_module_says_in_one_line_what_is_wrong(tmp_path):
    process = command("--resume", str(tmp_path))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.decode().count("\n") == 1
    assert "holds no checkpoint" in errors.decode()
