"""The shape of the package: layers, homes of outside libraries, public names, extras."""

from __future__ import annotations

import ast
import itertools
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import statformer
from statformer._extras import MissingExtraError, require

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "statformer"
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {c["id"]: c for c in METADATA["tool"]["importlinter"]["contracts"]}
LONGEST_MODULE = 600
MODULES = sorted(SOURCE.rglob("*.py"))


@dataclass(frozen=True)
class BadImport:
    """One line that the contract must refuse, added to one file (a new one where none is)."""

    contract: str
    file: str
    line: str


BAD_IMPORTS = [
    BadImport("layers", "nn/seeding.py", "import statformer.tasks"),
    BadImport("layers", "batch.py", "from statformer import nn"),
    BadImport("layers", "estimators/__init__.py", "import statformer.cli"),
    BadImport("layers", "estimators/__init__.py", "import statformer.pretraining"),
    BadImport("layers", "constructions/em_network.py", "import statformer.tasks.stream"),
    BadImport("layers", "runs/__init__.py", "import statformer.plotting"),
    BadImport("layers", "weights/__init__.py", "import statformer.nn.em_network"),
    BadImport("layers", "proposals/table_features.py", "import statformer.pretraining"),
    BadImport("layers", "helpers.py", "import math"),
    BadImport("sklearn-home", "nn/seeding.py", "from sklearn.cluster import KMeans"),
    BadImport("sklearn-home", "objectives/__init__.py", "import sklearn.metrics"),
    BadImport("sklearn-home", "proposals/table_features.py", "from sklearn import metrics"),
    BadImport("matplotlib-home", "cli/__init__.py", "import matplotlib.pyplot as plt"),
    BadImport("matplotlib-home", "estimators/__init__.py", "from matplotlib import pyplot"),
    BadImport("terminal-home", "pretraining/__init__.py", "from rich.progress import track"),
    BadImport("terminal-home", "benchmarks/__init__.py", "import typer"),
    BadImport("no-torch", "estimators/__init__.py", "import torch"),
    BadImport("no-torch", "nn/em_network.py", "from torch import Tensor"),
    BadImport("no-torch", "nn/seeding.py", "from statformer.nn import em_module"),
    BadImport("no-torch", "proposals/table_features.py", "import statformer.tasks.stream"),
    BadImport("no-torch", "images/__init__.py", "import torch"),
    BadImport("no-torch", "weights/__init__.py", "from accelerate import Accelerator"),
    BadImport("no-torch-in-commands", "cli/__init__.py", "import torch"),
    BadImport("no-torch-in-commands", "cli/__init__.py", "import statformer.pretraining"),
]


def lint_imports(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Check the package under root / "src" against our contracts."""
    return subprocess.run(
        [
            *(sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"),
            *("--config", str(ROOT / "pyproject.toml"), "--no-cache", *arguments),
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(SOURCE, tmp_path / "src" / "statformer")
    return tmp_path


def test_the_contracts_are_kept(copy: Path) -> None:
    result = lint_imports(copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in result.stdout


@pytest.mark.parametrize("bad", BAD_IMPORTS, ids=lambda bad: f"{bad.contract}: {bad.line}")
def test_a_contract_is_broken_by_one_bad_import(copy: Path, bad: BadImport) -> None:
    file = copy / "src" / "statformer" / bad.file
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as source:
        source.write(f"\n{bad.line}\n")
    result = lint_imports(copy, "--contract", bad.contract)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [CONTRACTS[bad.contract]["name"] + " BROKEN", "module statformer.helpers"]
    assert any(words in result.stdout for words in broken), result.stdout + result.stderr


def test_every_contract_has_a_bad_import() -> None:
    assert {bad.contract for bad in BAD_IMPORTS} == set(CONTRACTS)


def test_every_layer_outside_a_home_is_watched() -> None:
    line_of_layers = " | ".join(CONTRACTS["layers"]["layers"])
    layers = {f"statformer.{layer}" for layer in line_of_layers.split(" | ")}
    homes = {
        "matplotlib-home": {"plotting"},
        "terminal-home": {"cli"},
        "sklearn-home": {
            "estimators",
            "pretraining",
            "plotting",
            "runs",
            "benchmarks",
            "experiments",
            "cli",
        },
    }
    for contract, home in homes.items():
        watched = layers - {f"statformer.{layer}" for layer in home}
        assert set(CONTRACTS[contract]["source_modules"]) == watched


@dataclass(frozen=True)
class DynamicImport:
    """A module imported through a call with its name in a string, which no contract sees."""

    layer: str
    package: str
    extra: str | None
    lazily: bool


def dynamic_imports(source: str, layer: str) -> Iterator[DynamicImport]:
    tree = ast.parse(source)
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and call.args):
            continue
        name = getattr(call.func, "id", getattr(call.func, "attr", None))
        if name not in {"require", "import_module", "__import__"}:
            continue
        words = [a.value if isinstance(a, ast.Constant) else None for a in call.args]
        if words[0] is not None:
            extra = str(words[1]) if name == "require" else None
            package = str(words[0]).partition(".")[0]
            yield DynamicImport(layer, package, extra, id(call) in inner)


def fault(found: DynamicImport) -> str | None:
    """What is wrong with a dynamic import; None when nothing is."""
    homes = {
        "matplotlib": {"plotting"},
        "typer": {"cli"},
        "rich": {"cli"},
        "sklearn": {
            "estimators",
            "pretraining",
            "plotting",
            "runs",
            "benchmarks",
            "experiments",
            "cli",
        },
    }
    extras = METADATA["project"]["optional-dependencies"]
    if found.layer not in homes.get(found.package, {found.layer}):
        return f"{found.layer} imports {found.package}"
    if found.package == "torch" and not found.lazily:
        return f"{found.layer} imports torch when it is itself imported"
    if found.extra is not None:
        if found.extra not in extras:
            return f"{found.layer} names the extra {found.extra}, which does not exist"
        brought = {distribution_module(line) for line in extras[found.extra]}
        if found.package not in brought:
            return f"the extra {found.extra} does not bring {found.package}"
    return None


MODULE_OF = {
    "dog_optimizer": "dog",
    "faiss_cpu": "faiss",
    "pillow": "PIL",
    "scikit_learn": "sklearn",
}


def distribution_module(requirement: str) -> str:
    """The module that a line of the metadata installs."""
    name = requirement.partition(">")[0].replace("-", "_")
    return MODULE_OF.get(name, name)


def layer_of(module: Path) -> str:
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_dynamic_imports_keep_to_the_homes_too() -> None:
    found = [i for m in MODULES for i in dynamic_imports(m.read_text(), layer_of(m))]
    assert [word for word in map(fault, found) if word] == []


@pytest.mark.parametrize(
    ("source", "layer", "words"),
    [
        ('p = require("matplotlib.pyplot", "plot")', "cli", "cli imports matplotlib"),
        ('t = require("torch", "torch")', "estimators", "when it is itself imported"),
        ('def f():\n  return require("torch", "plot")', "estimators", "does not bring torch"),
        ('def f():\n  return require("torch", "gpu")', "estimators", "gpu, which does not exist"),
    ],
)
def test_a_bad_dynamic_import_is_seen(source: str, layer: str, words: str) -> None:
    (found,) = dynamic_imports(source, layer)
    assert words in str(fault(found))


def imported_by(statement: str) -> set[str]:
    """Top-level packages in a fresh interpreter after a statement."""
    code = f"import sys\n{statement}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_importing_the_package_is_light() -> None:
    heavy = {"torch", "accelerate", "matplotlib", "typer", "rich", "sklearn", "pandas", "scipy"}
    assert imported_by("import statformer").isdisjoint(heavy)


def test_importing_the_estimators_brings_no_torch_and_no_terminal() -> None:
    # scikit-learn itself imports rich where it is installed.
    beyond = imported_by("from statformer import AttentionMixture, cluster_tables, load")
    beyond -= imported_by("import sklearn.mixture")
    assert "statformer" in beyond
    assert beyond.isdisjoint({"torch", "accelerate", "matplotlib", "typer", "rich"})


def test_importing_the_command_line_brings_no_torch() -> None:
    assert imported_by("import statformer.cli").isdisjoint({"torch", "accelerate", "matplotlib"})


def test_public_names_are_sorted_and_real() -> None:
    assert statformer.__all__ == sorted(statformer.__all__)
    assert set(statformer.__all__) <= set(dir(statformer))
    for name in statformer.__all__:
        assert getattr(statformer, name).__module__.startswith("statformer.")
    with pytest.raises(AttributeError, match="no_such_name"):
        statformer.no_such_name  # noqa: B018


def test_the_version_is_the_one_in_the_metadata() -> None:
    assert statformer.__version__ == METADATA["project"]["version"]


def test_a_missing_extra_is_one_line_with_the_command() -> None:
    with pytest.raises(MissingExtraError) as caught:
        require("not_installed_here.part", "plot")
    assert str(caught.value) == (
        'not_installed_here is not installed; run: pip install "statformer[plot]"'
    )
    assert isinstance(caught.value, ImportError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_broken_optional_package_keeps_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import a_dependency_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_dependency_that_is_not_there") as caught:
        require("broken_package", "plot")
    assert not isinstance(caught.value, MissingExtraError)
    assert require("math", "plot").pi > 3


def imported_packages(module: Path) -> set[str]:
    """Top-level names of what a module imports, at the top, in functions or through a string."""
    source = module.read_text()
    names = {found.package for found in dynamic_imports(source, layer_of(module))}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names


def test_dependencies_and_extras_are_what_the_code_imports() -> None:
    imported = {name for module in MODULES for name in imported_packages(module)}
    outside = imported - set(sys.stdlib_module_names) - {"statformer"}
    project = METADATA["project"]
    declared = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    assert outside == {distribution_module(line) for line in declared}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_modules_are_nouns_of_a_few_hundred_lines(module: Path) -> None:
    source = module.read_text()
    assert module.stem not in {"utils", "util", "helpers", "misc", "common"}
    assert len(source.splitlines()) <= LONGEST_MODULE, "which two nouns share this file?"
    if module.name != "__init__.py":
        assert ast.get_docstring(ast.parse(source)), "a module opens with one sentence"
