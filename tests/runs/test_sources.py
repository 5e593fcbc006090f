from __future__ import annotations

from pathlib import Path

import pytest

import statformer
from statformer.runs.sources import closure, sources_key

FILES = {
    "__init__.py": "",
    "top.py": (
        "from typing import TYPE_CHECKING\n"
        "import labx.direct\n"
        "from labx import sibling\n"
        "if TYPE_CHECKING:\n"
        "    import labx.only_for_types\n"
        "def later():\n"
        "    from labx.inside.deep import name\n"
        "    return 'data.csv', 'no-such-file.csv'\n"
    ),
    "direct.py": "from labx.second import X\n",
    "second.py": "X = 1\n",
    "sibling.py": "import numpy\n",
    "only_for_types.py": "",
    "unrelated.py": "",
    "data.csv": "1,2\n",
    "other.csv": "1,2\n",
    "inside/__init__.py": "import labx.of_the_package\n",
    "inside/deep.py": "name = 1\n",
    "of_the_package.py": "",
    "lazy/__init__.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from labx.lazy.one import One\n"
        "    from labx.lazy.two import Two\n"
        "def __getattr__(name): ...\n"
    ),
    "lazy/one.py": "One = 1\n",
    "lazy/two.py": "Two = 1\n",
    "uses_lazy.py": "from labx.lazy import One\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package labx, which nothing imports."""
    for name, text in FILES.items():
        path = tmp_path / "labx" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "labx"


def test_imports_are_followed_and_nothing_else_is(package: Path) -> None:
    assert set(closure("labx.top")) == {
        "labx",
        "labx.top",
        "labx.top:data.csv",
        "labx.direct",
        "labx.second",
        "labx.sibling",
        "labx.inside",
        "labx.inside.deep",
        "labx.of_the_package",
    }


def test_a_name_that_is_looked_up_late_is_followed(package: Path) -> None:
    assert set(closure("labx.uses_lazy")) == {
        "labx",
        "labx.uses_lazy",
        "labx.lazy",
        "labx.lazy.one",
    }


@pytest.mark.parametrize(
    "name",
    ["top.py", "second.py", "data.csv", "inside/__init__.py", "inside/deep.py", "__init__.py"],
)
def test_a_change_of_what_is_followed_changes_the_key(package: Path, name: str) -> None:
    before = sources_key("labx.top")
    assert sources_key("labx.top") == before
    (package / name).write_text(FILES[name] + "# another\n")
    assert sources_key("labx.top") != before
    (package / name).write_text(FILES[name])
    assert sources_key("labx.top") == before


@pytest.mark.parametrize("name", ["unrelated.py", "only_for_types.py", "other.csv"])
def test_a_change_of_anything_else_does_not(package: Path, name: str) -> None:
    before = sources_key("labx.top")
    (package / name).write_text(FILES[name] + "# another\n")
    assert sources_key("labx.top") == before


def test_two_modules_of_one_text_have_two_keys(package: Path) -> None:
    assert sources_key("labx.only_for_types") != sources_key("labx.unrelated")


def test_the_manifest_of_the_weights_belongs_to_what_loads_them() -> None:
    found = closure("statformer.estimators.mixture")
    assert found["statformer.weights.store:manifest.json"].is_file()
    assert not [name for name in found if name.startswith(("statformer.cli", "statformer.plot"))]
    root = Path(statformer.__file__).parent
    assert found["statformer.nn.em_network"] == root / "nn" / "em_network.py"


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no module statformer\.nothing"):
        closure("statformer.nothing")
    with pytest.raises(ModuleNotFoundError, match="no package no_such_package"):
        closure("no_such_package.x")
