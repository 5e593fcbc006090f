"""The loop: schedules, resumption to the bit, skipped steps, the log, and the run's folder."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from pretraining.toy_recipe import ToyRecipe
from statformer.optim import AdamPP
from statformer.pretraining import CheckpointError, Progress, pretrain
from statformer.pretraining.checkpoint import latest_step


class Stop(Exception):
    """Thrown by a callback to end a run in the middle, as a crash would."""


def stop_at(step: int):
    def callback(progress: Progress) -> None:
        if progress.event == "step" and progress.step == step:
            raise Stop

    return callback


def run(out_dir, recipe=None, *, every=0.0, **options):
    return pretrain(recipe or ToyRecipe(), out_dir=out_dir, checkpoint_every_s=every, **options)


def built(seed: int) -> torch.nn.Module:
    """The toy network as the loop builds it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ToyRecipe().build(seed)


def lines(out_dir, event: str) -> list[dict]:
    whole = [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in whole
        if line["event"] == event
    ]


def weights_bytes(out_dir) -> bytes:
    return (out_dir / "final.safetensors").read_bytes()


def test_training_lowers_the_error(tmp_path):
    result = run(tmp_path / "run", n_steps=600, every=60)
    untrained = ToyRecipe().evaluate(built(0))["error"]
    assert result.evaluation["error"] < 0.5 * untrained
    assert result.n_steps == 600
    assert result.n_skipped == 0


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("stop", [1, 8, 14, 20])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, stop, ema_decay):
    recipe = ToyRecipe(ema_decay=ema_decay)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, recipe, n_steps=25, every=1e9)
    with pytest.raises(Stop):
        run(parts, recipe, n_steps=25, callback=stop_at(stop))
    assert latest_step(parts / "checkpoints") == stop - 1
    run(parts, recipe, resume=True, every=1e9)
    assert weights_bytes(parts) == weights_bytes(whole)
    assert lines(parts, "step") == lines(whole, "step")
    assert lines(parts, "evaluation") == lines(whole, "evaluation")
    # The comparison can fail: a step more or another seed gives other bits.
    run(tmp_path / "other", recipe, n_steps=25, seed=1, every=1e9)
    assert weights_bytes(tmp_path / "other") != weights_bytes(whole)


class ParameterFreeToy(ToyRecipe):
    """The toy with an optimizer that finds its own rate."""

    scope: str = "global"

    def learning_rate(self, step, n_steps):
        return 1.0

    def optimizer(self, params):
        first, *others = params
        groups = [{"params": [first]}, {"params": others}]
        return AdamPP(groups, scope=self.scope, eta0=1e-3, freeze_after=20)


class PerGroupToy(ParameterFreeToy):
    scope: str = "group"


@pytest.mark.parametrize(
    ("recipe", "names"), [(ParameterFreeToy, {"eta"}), (PerGroupToy, {"eta_0", "eta_1"})]
)
def test_the_found_step_size_is_logged_and_survives_a_resumption(tmp_path, recipe, names):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, recipe(), n_steps=25, every=1e9)
    with pytest.raises(Stop):
        run(parts, recipe(), n_steps=25, callback=stop_at(14))
    run(parts, recipe(), resume=True, every=1e9)
    assert weights_bytes(parts) == weights_bytes(whole)
    found = lines(whole, "step")
    assert lines(parts, "step") == found
    for name in names:
        etas = [line[name] for line in found]
        assert etas == sorted(etas)
        assert etas[0] < etas[-2] == etas[-1]  # grows, then is frozen
    assert {key for key in found[0] if key.startswith("eta")} == names


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    first = run(tmp_path / "run", n_steps=10)
    content = weights_bytes(tmp_path / "run")
    again = run(tmp_path / "run", n_steps=10, resume=True)
    assert weights_bytes(tmp_path / "run") == content
    assert again.evaluation == first.evaluation
    assert len(lines(tmp_path / "run", "evaluation")) == 2  # steps 7 and 10


def test_a_run_can_be_made_longer(tmp_path):
    run(tmp_path / "run", n_steps=10)
    assert run(tmp_path / "run", n_steps=14, resume=True).n_steps == 14
    with pytest.raises(ValueError, match="n_steps=9: the checkpoint is already at step 14"):
        run(tmp_path / "run", n_steps=9, resume=True)


def test_lines_beyond_the_checkpoint_are_dropped(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Stop):
        run(folder, n_steps=30, every=1e9, callback=stop_at(20))  # only step 0 is kept
    assert lines(folder, "step")[-1]["step"] == 18
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"event": "step", "st')  # what SIGKILL leaves
    run(folder, resume=True)
    steps = [line["step"] for line in lines(folder, "step")]
    assert steps == list(range(3, 31, 3))
    assert [line["step"] for line in lines(folder, "resume")] == [0]


def test_minutes_set_n_steps_once_and_a_resumed_run_keeps_it(tmp_path):
    recipe, folder = ToyRecipe(eval_every=1000), tmp_path / "run"
    with pytest.raises(Stop):
        run(folder, recipe, minutes=0.02, every=0.0, callback=stop_at(5))
    n_steps = lines(folder, "start")[0]["n_steps"]
    assert 10 < n_steps < 20_000
    head = json.loads((folder / "checkpoints" / "step-000000004.json").read_text())
    assert head["values"]["n_steps"] == n_steps
    result = run(folder, recipe, minutes=50.0, resume=True, every=1e9)
    assert result.n_steps == n_steps
    # The timed steps trained a copy: the run equals one that was given the number.
    run(tmp_path / "steps", recipe, n_steps=n_steps, every=1e9)
    assert weights_bytes(folder) == weights_bytes(tmp_path / "steps")


def test_minutes_are_kept_roughly(tmp_path):
    result = run(tmp_path / "run", ToyRecipe(seconds_per_step=0.005), minutes=0.025, every=60)
    assert 0.5 < result.seconds / 1.5 < 2.0


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path):
    bad = ToyRecipe(nan_from=4, nan_to=6, ema_decay=None)
    result = run(tmp_path / "run", bad, n_steps=12)
    assert result.n_skipped == 2
    skipped = lines(tmp_path / "run", "skipped")
    assert [line["step"] for line in skipped] == [5, 6]
    assert skipped[-1]["n_skipped"] == 2
    assert set(skipped[0]["not_finite"]) == {"loss", "gradient_norm"}
    assert all(math.isfinite(line["loss"]) for line in lines(tmp_path / "run", "step"))
    assert all(bool(t.isfinite().all()) for t in load_file(result.weights_path).values())
    assert json.loads(result.card_path.read_text())["n_skipped"] == 2


def test_skipped_steps_move_no_weight(tmp_path):
    never = run(tmp_path / "never", ToyRecipe(nan_from=0, nan_to=50), n_steps=20)
    for name, tensor in built(0).state_dict().items():
        assert torch.equal(tensor, never.module.state_dict()[name]), name


def test_a_hundred_skipped_steps_in_a_row_end_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match=r"100 steps in a row.*lower the learning rate"):
        run(tmp_path / "run", ToyRecipe(nan_from=3, nan_to=900), n_steps=500, every=60)


def test_gradients_are_clipped(tmp_path):
    """With plain gradient descent at rate 1 a step is as long as the clipped gradient."""

    class Descent(ToyRecipe):
        def learning_rate(self, step, n_steps):
            return 1.0

        def optimizer(self, params):
            return torch.optim.SGD(params)

    recipe = Descent(ema_decay=None, max_gradient_norm=0.01)
    folder = tmp_path / "run"
    run(folder, recipe, n_steps=1)
    trained = run(folder, recipe, resume=True).module
    after = torch.cat([p.detach().flatten() for p in trained.parameters()])
    before = torch.cat([p.detach().flatten() for p in built(0).parameters()])
    assert torch.linalg.vector_norm(after - before).item() == pytest.approx(0.01, rel=1e-4)


def test_card_and_weights(tmp_path):
    result = run(tmp_path / "run", n_steps=9, seed=3)
    card = json.loads(result.card_path.read_text())
    tensors = load_file(result.weights_path)
    assert set(tensors) == set(result.module.state_dict())
    assert card["recipe"] == "toy"
    assert card["seed"] == 3
    assert card["n_steps"] == 9
    assert card["licence"] == "Apache-2.0"
    assert card["settings"]["width"] == 8
    assert card["n_bytes"] == result.weights_path.stat().st_size
    assert [entry["step"] for entry in card["losses"]] == [3, 6, 9]
    assert card["evaluation"] == result.evaluation
    assert card["versions"]["torch"] == torch.__version__


def test_averaged_weights_are_evaluated_and_exported(tmp_path):
    averaged = run(tmp_path / "averaged", ToyRecipe(ema_decay=0.9), n_steps=20)
    plain = run(tmp_path / "plain", ToyRecipe(ema_decay=None), n_steps=20)
    assert weights_bytes(tmp_path / "averaged") != weights_bytes(tmp_path / "plain")
    assert averaged.evaluation != plain.evaluation
    assert averaged.evaluation == ToyRecipe().evaluate(averaged.module)


def test_callback_hears_every_step_and_the_end(tmp_path):
    heard: list[Progress] = []
    run(tmp_path / "run", n_steps=8, every=1e9, callback=heard.append)
    events = [progress.event for progress in heard]
    assert events[0] == "start"
    assert events[-1] == "end"
    assert [p.step for p in heard if p.event == "step"] == list(range(1, 9))
    assert [p.step for p in heard if p.event == "evaluation"] == [7, 8]
    line = json.loads(heard[2].to_json())
    assert line["n_steps"] == 8
    assert line["step"] == 1


def test_contradictions_are_refused(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="pass exactly one"):
        run(folder)
    with pytest.raises(ValueError, match="pass exactly one"):
        run(folder, n_steps=3, minutes=1.0)
    with pytest.raises(ValueError, match="n_steps=0"):
        run(folder, n_steps=0)
    with pytest.raises(ValueError, match="minutes=nan"):
        run(folder, minutes=math.nan)
    with pytest.raises(ValueError, match="device 'abacus' is unknown"):
        run(folder, n_steps=1, device="abacus")
    assert not folder.exists()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        run(folder, resume=True)
    run(folder, n_steps=2)
    with pytest.raises(CheckpointError, match="earlier run; resume it"):
        run(folder, n_steps=2)
    with pytest.raises(CheckpointError, match=r"settings \{'width': 8\}, this run \{'width': 4\}"):
        run(folder, ToyRecipe(width=4), resume=True)
    with pytest.raises(CheckpointError, match="seed 0, this run 5"):
        run(folder, resume=True, seed=5)
