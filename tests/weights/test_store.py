"""Checkpoints by name and by path: verified against manifest and card, refused when foreign."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from statformer.weights import WeightsError, load_weights, store
from statformer.weights.pack import write_weights


def test_path_gives_float64_and_the_digest(checkpoint: Path) -> None:
    weights, card = load_weights(checkpoint)
    assert set(card) == {"sha256"}
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float64)}
    assert any(key.startswith("judge.") for key in weights)
    with pytest.raises(ValueError, match="read-only"):
        weights["em.b_cov"][0] = 0.0


def test_folder_of_a_run(checkpoint: Path) -> None:
    checkpoint.rename(checkpoint.parent / "final.safetensors")
    (checkpoint.parent / "card.json").write_text(json.dumps({"recipe": "mixture"}))
    _, card = load_weights(checkpoint.parent)
    assert card["recipe"] == "mixture"


def test_card_with_another_digest_is_refused(checkpoint: Path) -> None:
    checkpoint.with_suffix(".json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(WeightsError, match="SHA-256"):
        load_weights(checkpoint)


def test_changed_file_is_read_again(checkpoint: Path) -> None:
    before, _ = load_weights(checkpoint)
    changed = {key: np.float32(value) for key, value in before.items()}
    changed["em.b_cov"] += 1
    save_file(changed, checkpoint)
    after, _ = load_weights(checkpoint)
    assert (after["em.b_cov"] != before["em.b_cov"]).all()


@pytest.mark.parametrize(
    "arrays",
    [
        {"layers.0.weight": np.ones(3, np.float32)},
        {"em.W_hidden": np.ones(3, np.float32)},
        {"em.b_cov": np.ones(3, np.float32), "count.w_4": np.ones(3, np.float32)},
        {"em.b_cov": np.ones(3, np.int64)},
        {"em.b_cov": np.array([np.nan])},
        {"em.b_cov": np.array([np.inf])},
        {},
    ],
)
def test_foreign_keys_and_values_are_refused(tmp_path: Path, arrays: dict) -> None:
    save_file(arrays, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        load_weights(tmp_path / "x.safetensors")


def test_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint of this name"):
        load_weights("mixtures")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_weights(tmp_path / "none.safetensors")


def test_packed_weights_are_found_and_guarded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(store, "PACKAGE_FOLDER", folder)
    path = write_weights(checkpoint, folder=folder, card={"licence": "Apache-2.0"})
    weights, card = load_weights("pretrained")
    np.testing.assert_equal(weights, load_weights(checkpoint)[0])
    assert card["licence"] == "Apache-2.0"
    assert card["n_parameters"] == sum(value.size for value in weights.values())
    assert (
        card["sha256"]
        == json.loads((folder / "manifest.json").read_text())["mixture"]["weights"]["sha256"]
    )
    assert path.read_bytes() == checkpoint.read_bytes()
    store._load_shipped.cache_clear()
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match="not the file in the manifest"):
        load_weights("mixture")
    store._load_shipped.cache_clear()
    path.write_bytes(damaged[:-10])
    with pytest.raises(WeightsError, match="not the file in the manifest"):
        load_weights("mixture")
    assert not list(folder.glob(".*")), "a temporary file was left behind"


def test_packing_keeps_the_card_of_the_layers(checkpoint: Path, tmp_path: Path) -> None:
    weights, _ = load_weights(checkpoint)
    layers = {key: np.float32(value) for key, value in weights.items() if key[:3] == "em."}
    run = tmp_path / "layers"
    run.mkdir()
    save_file(layers, run / "final.safetensors")
    (run / "card.json").write_text(json.dumps({"recipe": "mixture", "seed": 4}))
    path = write_weights(checkpoint, run, folder=tmp_path)
    card = json.loads(path.with_suffix(".json").read_text())
    assert (card["clusterer"]["recipe"], card["clusterer"]["seed"]) == ("mixture", 4)
    layers["em.b_cov"] += 1
    save_file(layers, run / "final.safetensors")
    with pytest.raises(WeightsError, match="not those of the source"):
        write_weights(checkpoint, run, folder=tmp_path)


def test_shipped_weights_are_those_of_the_manifest() -> None:
    """Fails until the package has its weights: they are part of the product."""
    weights, card = load_weights("pretrained")
    assert weights["em.b_cov"].shape[0] > 1
    assert {key.partition(".")[0] for key in weights} == {"em", "judge", "depth"}
    assert {"recipe", "seed"} <= set(card)
    files = (store.PACKAGE_FOLDER / name for name in ("mixture.safetensors", "mixture.json"))
    assert sum(path.stat().st_size for path in files) < 5e6


def test_loading_needs_no_torch(checkpoint: Path) -> None:
    code = (
        "import sys; from statformer.weights import load_weights; "
        f"load_weights({str(checkpoint)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
