"""Checkpoints: what is written comes back; what is damaged or foreign is refused."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from statformer.pretraining.checkpoint import (
    Checkpoint,
    CheckpointError,
    latest_step,
    load_checkpoint,
    load_optimizer,
    optimizer_state,
    save_checkpoint,
    write_atomically,
)


def checkpoint(step: int) -> Checkpoint:
    tensors = {
        "module.w": torch.arange(6, dtype=torch.float64).reshape(2, 3).T,  # not contiguous
        "module.n": torch.tensor(step),
        "optimizer.0.exp_avg": torch.full((3,), float("nan")),
    }
    return Checkpoint(step, tensors, {"third": 1 / 3, "names": ["a", "b"]})


@pytest.fixture
def folder(tmp_path):
    for step in (0, 5, 12):
        save_checkpoint(tmp_path, checkpoint(step))
    return tmp_path


def test_a_checkpoint_comes_back(folder):
    loaded, saved = load_checkpoint(folder), checkpoint(12)
    assert loaded.step == 12
    assert loaded.values == saved.values
    assert loaded.tensors.keys() == saved.tensors.keys()
    for name, tensor in saved.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert set(loaded.part("module")) == {"w", "n"}


def test_the_last_two_are_kept_and_nothing_temporary(folder):
    (folder / ".step-000000005.json.77.tmp").write_text("half")
    (folder / "step-000000009.safetensors").write_text("a run was killed before the JSON")
    save_checkpoint(folder, checkpoint(20))
    assert sorted(path.name for path in folder.iterdir()) == [
        "step-000000012.json",
        "step-000000012.safetensors",
        "step-000000020.json",
        "step-000000020.safetensors",
    ]
    assert latest_step(folder) == 20
    assert load_checkpoint(folder, step=12).step == 12


def damage(path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        del content[-7:]
    elif how == "one bit":
        content[len(content) // 2] ^= 1
    elif how == "empty":
        content.clear()
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("how", "says"),
    [("truncated", "bytes where"), ("one bit", "SHA-256"), ("empty", "has 0 bytes")],
)
def test_damaged_tensors_are_refused_with_the_way_back(folder, how, says):
    damage(folder / "step-000000012.safetensors", how)
    with pytest.raises(CheckpointError, match=says) as caught:
        load_checkpoint(folder)
    assert "delete step-000000012.* " in str(caught.value)
    assert "go on from step 5" in str(caught.value)
    for path in folder.glob("step-000000012.*"):  # the remedy works
        path.unlink()
    assert load_checkpoint(folder).step == 5


@pytest.mark.parametrize("how", ["truncated", "empty"])
def test_damaged_json_is_refused(folder, how):
    damage(folder / "step-000000012.json", how)
    with pytest.raises(CheckpointError, match="not readable JSON"):
        load_checkpoint(folder)


def test_missing_tensors_are_refused(folder):
    (folder / "step-000000012.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "another"}, "not a checkpoint of this project"),
        ({"version": 99}, "checkpoint version 99, this code reads 1"),
        ({"sha256": None}, "SHA-256"),
        ({"values": 3}, "lacks its values"),
    ],
)
def test_foreign_json_is_refused(folder, change, says):
    path = folder / "step-000000012.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(folder)


@pytest.mark.parametrize("key", ["n_bytes", "sha256", "values"])
def test_incomplete_json_is_refused(folder, key):
    path = folder / "step-000000012.json"
    head = json.loads(path.read_text())
    del head[key]
    path.write_text(json.dumps(head))
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_checkpoint(tmp_path)
    assert latest_step(tmp_path / "absent") is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, None)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
    "adam tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.1)),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.1),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_to_the_bit(tmp_path, name):
    def walk(weight: nn.Parameter, optimizer: torch.optim.Optimizer, start: int, n: int) -> None:
        for i in range(start, start + n):
            optimizer.zero_grad()
            (weight.sin() * (i + 1)).sum().backward()
            optimizer.step()

    straight = nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([straight])
    walk(straight, optimizer, 0, 4)
    tensors, values = optimizer_state(optimizer)
    at_four = straight.detach().clone()
    named = {f"optimizer.{key}": tensor for key, tensor in tensors.items()}
    save_checkpoint(tmp_path, Checkpoint(4, named, {"optimizer": values}))
    walk(straight, optimizer, 4, 5)

    resumed = nn.Parameter(at_four)
    fresh = OPTIMIZERS[name]([resumed])
    loaded = load_checkpoint(tmp_path)
    load_optimizer(fresh, loaded.part("optimizer"), loaded.values["optimizer"])
    walk(resumed, fresh, 4, 5)
    assert torch.equal(straight, resumed)

    forgetful = nn.Parameter(at_four.clone())
    walk(forgetful, OPTIMIZERS[name]([forgetful]), 4, 5)
    assert not torch.equal(straight, forgetful)


def test_an_optimizer_of_other_groups_is_refused():
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    tensors, values = optimizer_state(torch.optim.SGD([a], lr=0.1))
    with pytest.raises(CheckpointError, match="other parameter groups"):
        load_optimizer(torch.optim.SGD([a, b], lr=0.1), tensors, values)


def test_state_that_json_cannot_hold_is_refused():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    optimizer.param_groups[0]["schedule"] = lambda step: step
    with pytest.raises(TypeError, match="'schedule' is a function"):
        optimizer_state(optimizer)
