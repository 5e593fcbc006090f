"""Structures from dicts, graphs and files; files that nobody has to trust."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from bayes_nets import WET_GRASS, wet_grass
from statformer.estimators import bif
from statformer.estimators.bayes_net import AttentionBayesNet
from statformer.estimators.bayes_net_structure import read_structure
from statformer.estimators.bif import BifError, read_bif

GOOD = """network "wet grass" { property version 1.0; }
// a comment; variable none { }
variable cloudy { type discrete [ 2 ] { no, yes }; property position = (1, 2) ; }
variable rain { type discrete[3]{ none, some, "a lot" }; }
/* two
   lines */
probability ( cloudy ) { table 0.25 0.75; }
probability ( rain | cloudy ) {
  (no) 0.5, 0.25, 0.25;
  default 0.1, 0.2, 0.7;
}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "net.bif"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    net = read_bif(written(tmp_path, GOOD))
    assert net.states == {"cloudy": ("no", "yes"), "rain": ("none", "some", "a lot")}
    assert net.parents == {"cloudy": (), "rain": ("cloudy",)}
    np.testing.assert_allclose(net.tables["cloudy"], [0.25, 0.75])
    np.testing.assert_allclose(net.tables["rain"], [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])


def test_a_flat_table_runs_over_the_parents_first(tmp_path: Path) -> None:
    rows = GOOD[GOOD.index("  (no)") : GOOD.index("}\n", GOOD.index("  (no)"))]
    text = GOOD.replace(rows, "  table 0.5, 0.1, 0.25, 0.2, 0.25, 0.7;\n")
    expected = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]
    np.testing.assert_allclose(read_bif(written(tmp_path, text)).tables["rain"], expected)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (GOOD, "", "no variable"),
        (GOOD, "<?xml version='1.0'?>", "line 1: found '<\\?xml'"),
        ("/* two", "/* two /* ", "rain"),
        ("   lines */", "", "not closed"),
        ("[3]", "[2]", "line 4: variable 'rain' lists 3 states"),
        ("[3]", "[9999999999999999999]", "no number of states"),
        ("[3]", "[-3]", "no number of states"),
        ('"a lot"', "some", "2 of them distinct"),
        ("variable rain", "variable cloudy", "declared twice"),
        ("type discrete[3]", "type continuous[3]", "expected 'discrete'"),
        ("( rain | cloudy )", "( rain | sun )", "'sun' is not declared"),
        ("( rain | cloudy )", "( rain | rain )", "itself"),
        ("( rain | cloudy )", "( cloudy )", "two probability blocks"),
        ("  (no) 0.5, 0.25, 0.25;", "", ""),
        ("  (no) 0.5", "  (maybe) 0.5", "'maybe' is no state"),
        ("  (no) 0.5", "  (no, no) 0.5", "2 states for 1 parents"),
        ("0.5, 0.25, 0.25;", "0.5, 0.25;", "2 numbers where 3"),
        ("0.5, 0.25, 0.25;", "0.5, 0.25, nan;", "no probability"),
        ("0.5, 0.25, 0.25;", "0.5, 0.25, 1e400;", "no probability"),
        ("0.5, 0.25, 0.25;", "0.5, 0.25, x;", "expected a number"),
        ("0.5, 0.25, 0.25;", "0.5, 0.25, 0.9;", "does not sum to 1"),
        ("default 0.1, 0.2, 0.7;", "", "lacks a row"),
        ("default 0.1, 0.2, 0.7;", "(no) 0.1, 0.2, 0.7;", "has a row twice"),
        ("default 0.1, 0.2, 0.7;\n}", "default 0.1", "truncated"),
        ("probability ( cloudy ) { table 0.25 0.75; }", "", "'cloudy' has no probability"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, old: str, new: str, match: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    if match in {"", "rain"}:  # still whole: the default row serves, comments do not nest
        assert "rain" in read_bif(path).states
        return
    with pytest.raises(BifError, match=match):
        read_bif(path)


def test_large_and_binary_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.bif"
    with pytest.raises(FileNotFoundError):
        read_bif(path)
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(BifError, match="UTF-8"):
        read_bif(path)
    many = "".join(f"variable v{j} {{ type discrete [ 9 ] {{ {STATES} }}; }}\n" for j in range(20))
    parents = ", ".join(f"v{j}" for j in range(1, 20))
    path.write_text(f"{many}probability ( v0 | {parents} ) {{ table 1; }}")
    with pytest.raises(BifError, match="more than 4194304 numbers"):
        read_bif(path)
    monkeypatch.setattr(bif, "MAX_BYTES", 10)
    with pytest.raises(BifError, match="at most 10 are read"):
        read_bif(path)


STATES = ", ".join("abcdefghi")


def test_own_files_come_back(tmp_path: Path) -> None:
    frame = wet_grass()
    model = AttentionBayesNet(WET_GRASS).fit(frame)
    path = tmp_path / "own.bif"
    model.to_bif(path)
    net = read_bif(path)
    assert net.states["grass"] == ("0", "7")
    assert net.states["cloudy"] == ("False", "True")
    for name, table in model.cpds_.items():
        assert net.parents[name] == tuple(WET_GRASS.get(name, ()))
        found = net.tables[name].reshape(len(table), -1)
        np.testing.assert_array_equal(found, table)
    again = AttentionBayesNet(path).fit(frame)
    assert again.structure_ == model.structure_
    pd.testing.assert_frame_equal(again.sample(3).iloc[:0], frame.iloc[:0])


def test_names_that_the_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.bif"
    for values in (["a b", "c"], ["x;", "c"]):
        model = AttentionBayesNet({"x": []}).fit(pd.DataFrame({"x": values}))
        with pytest.raises(ValueError, match="cannot hold the name"):
            model.to_bif(path)
    model = AttentionBayesNet({"x": []}).fit(pd.DataFrame({"x": [1, "1"]}, dtype=object))
    with pytest.raises(ValueError, match="the same as text"):
        model.to_bif(path)
    assert not list(tmp_path.iterdir())


def test_graphs_and_dicts_say_the_same() -> None:
    graph = nx.DiGraph([(p, c) for c, parents in WET_GRASS.items() for p in parents])
    from_graph, from_dict = read_structure(graph), read_structure(WET_GRASS)
    for name in from_dict.names:
        assert set(from_graph.parents_of(name)) == set(from_dict.parents_of(name))


def test_declared_states_are_the_categories(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "variable a { type discrete [3] { 2, 0, 1 }; } variable b { type discrete [2] {no, yes}; }"
        "probability (a) { table 0.5 0.25 0.25; } probability (b | a) { default 0.5 0.5; }",
    )
    frame = pd.DataFrame({"a": [0, 1, 0, np.nan], "b": ["yes", "yes", None, "no"]})
    model = AttentionBayesNet(path, random_state=0).fit(frame)
    assert list(model.categories_["a"]) == [2, 0, 1]
    assert list(model.categories_["b"]) == ["no", "yes"]
    assert model.cpds_["a"].iloc[0, 0] < 1e-5
    assert model.sample(5)["a"].dtype == frame["a"].dtype
    typed = frame.dropna().astype({"b": pd.CategoricalDtype(["yes", "no"])})
    assert AttentionBayesNet(path).fit(typed).sample(4)["b"].dtype == typed["b"].dtype
    with pytest.raises(ValueError, match="'b' holds 'si', which is none of the states"):
        AttentionBayesNet(path).fit(frame.replace("yes", "si"))
    with pytest.raises(ValueError, match="'a' holds 3"):
        AttentionBayesNet(path).fit(frame.fillna({"a": 3}))
