"""What a user installs: the files of the wheel, and a machine that has the wheel but no torch."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MEGABYTES_BEYOND_SKLEARN_AND_PANDAS = 15.0
SECONDS_BEYOND_SKLEARN = 0.3

IMPORT_TIME = """
import time, sklearn
start = time.perf_counter()
import statformer
print(time.perf_counter() - start)
"""

CLUSTER = """
import sys, warnings
import numpy as np
from statformer import AttentionMixture
warnings.simplefilter("error")
rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(-5.0, 1.0, (60, 3)), rng.normal(5.0, 1.0, (40, 3))])
model = AttentionMixture(2, random_state=0).fit(X)
assert sorted(np.bincount(model.labels_)) == [40, 60], np.bincount(model.labels_)
assert len(set(model.labels_[:60])) == 1
assert "torch" not in sys.modules
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=ROOT)
    (file,) = target.glob("*.whl")
    return file


def test_the_wheel_holds_the_package_and_its_weights_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {name for name in names if name.startswith("statformer/")}
    rest = {name for name in names - package if ".dist-info/" not in name}
    assert rest == set()
    weights = {"mixture.safetensors", "mixture.json", "manifest.json"}
    assert {f"statformer/weights/{name}" for name in weights} <= package
    assert "statformer/py.typed" in package
    suffixes = {Path(name).suffix for name in package}
    assert suffixes <= {".css", ".py", ".typed", ".json", ".safetensors"}


def megabytes(folder: Path) -> float:
    """Installed files, without the bytecode that Python can write again."""
    files = [f for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc"]
    return sum(f.stat().st_size for f in files) / 1e6


@pytest.mark.slow
def test_a_machine_without_torch_installs_little_starts_quickly_and_clusters(
    wheel: Path, tmp_path: Path
) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = (python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt")
    run(*install, "scikit-learn", "pandas", cwd=tmp_path)
    before = megabytes(home)
    run(*install, wheel, cwd=tmp_path)
    added = megabytes(home) - before
    assert added <= MEGABYTES_BEYOND_SKLEARN_AND_PANDAS

    packages = run(python, "-m", "pip", "list", "--format", "freeze", cwd=tmp_path)
    assert not [line for line in packages.splitlines() if line.startswith(("torch=", "accelerate"))]
    run(python, "-c", CLUSTER, cwd=tmp_path)
    seconds = min(float(run(python, "-c", IMPORT_TIME, cwd=tmp_path)) for _ in range(5))
    assert seconds <= SECONDS_BEYOND_SKLEARN

    table = tmp_path / "table.csv"
    rows = [f"{i % 7},{i % 5 + 100 * (i % 2)}" for i in range(100)]
    table.write_text("\n".join(["a,b", *rows]) + "\n")
    labelled = tmp_path / "labelled.csv"
    run(home / "bin" / "statformer", "cluster", table, "--out", labelled, cwd=tmp_path)
    assert labelled.read_text().startswith("a,b,cluster,")
