"""`statformer cluster`: what it finds, what it says, what it writes, and how it refuses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from statformer import AttentionMixture

Answer = dict[str, Any]
KEYS = {
    "table": str,
    "n_rows": int,
    "n_columns": int,
    "columns": list,
    "dropped": dict,
    "encoded": dict,
    "missing": dict,
    "filled": bool,
    "notes": list,
    "warnings": list,
    "weights": str,
    "effort": str,
    "k": int,
    "k_asked": int | None,
    "k_probability": list,
    "clear_clusters": bool,
    "expected_ari": float | None,
    "out_of_depth": float | None,
    "fell_back": bool,
    "like": dict | None,
    "clusters": list,
    "seconds": float,
    "compared_with": str | None,
    "n_compared": int | None,
    "scores": list,
    "written": dict,
}


def test_the_json_object(cluster: Callable[..., Answer], table: Path) -> None:
    answer = cluster(table, "--label-column", "species", "--json")
    assert set(answer) == set(KEYS)
    for key, kind in KEYS.items():
        assert isinstance(answer[key], kind), key
    assert answer["n_rows"] == 120
    assert answer["columns"] == ["length", "width", "colour"]
    assert answer["k"] == 3
    assert sum(answer["k_probability"]) == pytest.approx(1)
    assert [c["size"] for c in answer["clusters"]] == [60, 40, 20]
    assert answer["clusters"][1]["set_apart_by"][0]["column"] == "length"
    assert set(answer["scores"][0]) == {"method", "k", "ari", "ami", "seconds", "failure"}


def test_scores_beside_the_rivals_are_those_of_the_labels(
    cluster: Callable[..., Answer], table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    answer = cluster(table, "--label-column", "species", "--k", 2, "--out", out)
    methods = [score["method"].split(",")[0] for score in answer["scores"]]
    assert methods == ["AttentionMixture", "EM", "EM", "k-means"]
    rows = pd.read_csv(out)
    ours = answer["scores"][0]
    assert ours["ari"] == pytest.approx(adjusted_rand_score(rows["species"], rows["cluster"]))
    assert ours["ami"] == pytest.approx(
        adjusted_mutual_info_score(rows["species"], rows["cluster"])
    )
    assert all(score["k"] == 2 and 0 < score["ari"] < 1 for score in answer["scores"])


def test_labels_that_are_missing_are_not_scored(
    cluster: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    blobs.loc[:9, "species"] = None
    blobs.to_csv(tmp_path / "t.csv", index=False)
    answer = cluster(tmp_path / "t.csv", "--label-column", "species", "--versus", "kmeans")
    assert answer["n_compared"] == 110
    assert answer["scores"][0]["ari"] == 1.0


def test_the_label_column_is_never_clustered(
    cluster: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    np.random.default_rng(0).shuffle(blobs["species"].to_numpy(copy=True))
    blobs.to_csv(tmp_path / "a.csv", index=False)
    blobs["species"] = "none"
    blobs.to_csv(tmp_path / "b.csv", index=False)
    first = cluster(tmp_path / "a.csv", "--label-column", "species")
    second = cluster(tmp_path / "b.csv", "--label-column", "species")
    assert first["clusters"] == second["clusters"]


def test_versus_without_a_label_column_compares_with_our_clusters(
    cluster: Callable[..., Answer], table: Path
) -> None:
    answer = cluster(table, "--drop", "species", "--versus", "kmeans,em")
    assert answer["compared_with"] == "these clusters"
    assert [score["ari"] for score in answer["scores"]] == [1.0, 1.0]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "german.csv", "-"])
def test_every_format_gives_the_same_clusters(
    cluster: Callable[..., Answer], blobs: pd.DataFrame, table: Path, tmp_path: Path, name: str
) -> None:
    expected = cluster(table)["clusters"]
    path, stdin = tmp_path / name, None
    if name == "-":
        path, stdin = Path("-"), table.read_bytes()
    elif name == "t.parquet":
        blobs.to_parquet(path)
    else:
        options = {"t.tsv": {"sep": "\t"}, "german.csv": {"sep": ";", "decimal": ","}}
        blobs.to_csv(path, index=False, **options.get(name, {}))
    assert cluster(path, stdin=stdin)["clusters"] == expected


def test_npy(cluster: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", blobs[["length", "width", "colour"]].to_numpy())
    answer = cluster(tmp_path / "t.npy")
    assert answer["columns"] == ["x0", "x1", "x2"]
    assert [c["size"] for c in answer["clusters"]] == [60, 40, 20]


def test_options_of_reading_reach_the_reader(
    cluster: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    blobs = blobs.rename(columns={"length": "länge"})
    text = blobs.to_csv(index=False, sep="|", decimal=",")
    (tmp_path / "t.txt").write_bytes(text.encode("latin-1"))
    options = ("--encoding", "latin-1", "--delimiter", "|", "--decimal", ",")
    answer = cluster(tmp_path / "t.txt", "--drop", "species", *options)
    assert answer["columns"] == ["länge", "width", "colour"]


def test_what_was_dropped_encoded_and_missing_is_said(
    run: Callable[..., Any], cluster: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    blobs.insert(0, "id", np.arange(120))
    blobs["seen"] = pd.date_range("2021-01-01", periods=120).astype(str)
    blobs.loc[[3, 4, 5], "width"] = np.nan
    blobs["label"] = blobs["species"]
    blobs.to_csv(tmp_path / "t.csv", index=False)
    answer = cluster(tmp_path / "t.csv")
    assert set(answer["dropped"]) == {"id", "seen"}
    assert answer["encoded"] == {"species": 3, "label": 3}
    assert answer["missing"] == {"width": 3}
    assert len(answer["warnings"]) == 1
    result = run("cluster", tmp_path / "t.csv", "--weights", "constructed", "--no-json")
    for line in (
        "note: dropped 'id'",
        "note: dropped 'seen': dates",
        "note: read as categories",
        "species (3 values), label (3 values)",
        "3 missing cells",
        "width (3)",
        "warning: column 'label' looks like the answer",
    ):
        assert line in result.stderr


def test_the_report_to_read(run: Callable[..., Any], table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = run(
        "cluster", table, "--weights", "constructed", "--label-column", "species", "--no-json",
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "3 clusters" in result.stdout
    assert "P(K = 3)" in result.stdout
    assert "█" in result.stdout
    assert "length 8." in result.stdout
    assert "k-means, 10 starts" in result.stdout
    assert f"labelled table: {out}" in result.stdout


def test_no_clear_clusters(
    run: Callable[..., Any], cluster: Callable[..., Answer], tmp_path: Path
) -> None:
    np.save(tmp_path / "t.npy", np.random.default_rng(0).normal(size=(300, 2)))
    answer = cluster(tmp_path / "t.npy")
    assert answer["k"] == 1
    assert not answer["clear_clusters"]
    assert np.argmax(answer["k_probability"]) == 0
    result = run("cluster", tmp_path / "t.npy", "--weights", "constructed", "--no-json")
    assert "no clear clusters" in result.stdout


@pytest.mark.parametrize("k", [1, 2, 3])
def test_k_is_obeyed(
    run: Callable[..., Any], cluster: Callable[..., Answer], table: Path, k: int
) -> None:
    answer = cluster(table, "--k", k, "--drop", "species")
    assert answer["k"] == answer["k_asked"] == k == len(answer["clusters"])
    assert answer["k_probability"][k - 1] == 1.0
    assert answer["clear_clusters"]


def test_clusters_that_stay_empty_are_mentioned(run: Callable[..., Any], tmp_path: Path) -> None:
    np.save(
        tmp_path / "t.npy", np.repeat([[0.0, 0.0], [1.0, 5.0], [1.0, 5.1]], [20, 20, 1], axis=0)
    )
    arguments = ("cluster", tmp_path / "t.npy", "--k", 3, "--weights", "constructed")
    answer = json.loads(run(*arguments).stdout)
    assert answer["k"] == 2
    assert any("no row" in line for line in answer["warnings"])
    assert "2 clusters of 3 asked for" in run(*arguments, "--no-json").stdout


def test_the_seed_decides(
    cluster: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    np.save(tmp_path / "t.npy", np.random.default_rng(0).normal(size=(80, 5)))
    first = cluster(tmp_path / "t.npy", "--k", 5, "--seed", 1, "--out", tmp_path / "a.csv")
    again = cluster(tmp_path / "t.npy", "--k", 5, "--seed", 1, "--out", tmp_path / "b.csv")
    other = cluster(tmp_path / "t.npy", "--k", 5, "--seed", 2, "--out", tmp_path / "c.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    assert first["clusters"] == again["clusters"] != other["clusters"]


def test_labelled_rows_are_the_input_and_the_models_answer(
    cluster: Callable[..., Answer], table: Path, tmp_path: Path
) -> None:
    out, model = tmp_path / "out.tsv", tmp_path / "model"
    answer = cluster(table, "--out", out, "--save", model, "--drop", "species")
    assert answer["written"] == {"labelled table": str(out), "model": str(model)}
    rows = pd.read_csv(out, sep="\t")
    before = pd.read_csv(table)
    pd.testing.assert_frame_equal(rows[before.columns], before)
    fitted = AttentionMixture.load(model)
    proba = fitted.predict_proba(before[["length", "width", "colour"]])
    names = [f"probability_{c}" for c in range(3)]
    np.testing.assert_allclose(rows[names], proba, atol=1e-6)
    np.testing.assert_array_equal(rows["cluster"], proba.argmax(axis=1))
    np.testing.assert_allclose(rows["cluster_probability"], proba.max(axis=1), atol=1e-6)


def test_a_labelled_table_may_be_clustered_again(
    cluster: Callable[..., Answer], table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    cluster(table, "--out", out, "--k", 3)
    answer = cluster(out, "--out", out, "--k", 2, "--force")
    assert answer["columns"] == ["length", "width", "colour", "species"]
    assert list(pd.read_csv(out).columns)[4:] == [
        "cluster", "cluster_probability", "probability_0", "probability_1",
    ]  # fmt: skip


def test_a_column_called_cluster_is_not_overwritten(
    refused: Callable[..., str], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    blobs.rename(columns={"species": "cluster"}).to_csv(tmp_path / "t.csv", index=False)
    line = refused("cluster", tmp_path / "t.csv", "--out", tmp_path / "out.csv")
    assert "'cluster'" in line
    assert not (tmp_path / "out.csv").exists()


def test_the_picture(cluster: Callable[..., Answer], table: Path, tmp_path: Path) -> None:
    plot = tmp_path / "p.png"
    cluster(table, "--label-column", "species", "--plot", plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert len(plot.read_bytes()) > 20_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "matplotlib.figure", None)
        assert cluster(table)["k"] == 3  # no picture, no matplotlib


BAD_CALLS = {
    "missing file": (["nowhere.csv"], "no file"),
    "bad k": (["blobs.csv", "--k", "0"], "--k 0"),
    "k above n": (["blobs.csv", "--k", "121"], "--k 121"),
    "k no number": (["blobs.csv", "--k", "three"], "three"),
    "negative seed": (["blobs.csv", "--seed", "-1"], "--seed"),
    "unknown option": (["blobs.csv", "--colour", "red"], "--colour"),
    "unknown column": (["blobs.csv", "--columns", "lenght"], "did you mean 'length'"),
    "unknown drop": (["blobs.csv", "--drop", "lenght"], "did you mean 'length'"),
    "unknown label": (["blobs.csv", "--label-column", "specie"], "did you mean 'species'"),
    "empty columns": (["blobs.csv", "--columns", ","], "--columns"),
    "unknown rival": (["blobs.csv", "--versus", "kmean"], "did you mean 'kmeans'"),
    "nothing left": (["blobs.csv", "--drop", "length,width,colour,species"], "no usable column"),
    "unknown weights": (["blobs.csv", "--weights", "nowhere.safetensors"], "nowhere"),
    "ragged": (["ragged.csv"], "line 3"),
    "wrong encoding": (["latin.csv"], "--encoding latin-1"),
    "empty": (["empty.csv"], "empty"),
    "out exists": (["blobs.csv", "--out", "ragged.csv"], "--force"),
    "out unknown": (["blobs.csv", "--out", "out.xlsx"], ".parquet"),
    "out nowhere": (["blobs.csv", "--out", "nowhere/out.csv"], "folder"),
    "plot unknown": (["blobs.csv", "--plot", "p.docx"], ".png"),
    "save exists": (["blobs.csv", "--save", "ragged.csv"], "--force"),
    "no table": ([], "TABLE"),
    "cluster taken": (["taken.csv", "--out", "out.csv"], "'cluster'"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_errors_are_one_line_and_write_nothing(
    case: str, refused: Callable[..., str], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    Path("ragged.csv").write_text("a,b\n1,2\n3\n")
    Path("latin.csv").write_bytes("a,b\n1,é\n".encode("latin-1"))
    Path("empty.csv").touch()
    Path("taken.csv").write_text("a,cluster\n1,2\n2,3\n4,9\n")
    before = {path: path.read_bytes() for path in Path().rglob("*")}
    arguments, word = BAD_CALLS[case]
    assert word in refused("cluster", *arguments)
    assert {path: path.read_bytes() for path in Path().rglob("*")} == before


def test_a_failure_after_the_fit_writes_nothing(
    run: Callable[..., Any], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AttentionMixture, "save", broken)
    before = set(tmp_path.iterdir())
    result = run(
        "cluster", table, "--weights", "constructed", "--out", tmp_path / "out.csv",
        "--save", tmp_path / "model", "--plot", tmp_path / "p.png",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "No space left" in result.stderr
    assert set(tmp_path.iterdir()) == before


def test_stdin_may_hold_any_format(
    cluster: Callable[..., Answer], blobs: pd.DataFrame, table: Path
) -> None:
    stream = io.BytesIO()
    blobs.to_parquet(stream)
    answer = cluster("-", stdin=stream.getvalue())
    assert answer["table"] == "standard input"
    assert answer["clusters"] == cluster(table)["clusters"]


def test_json_is_for_machines(run: Callable[..., Any], table: Path) -> None:
    result = run("cluster", table, "--weights", "constructed", "--k", "2")
    assert isinstance(json.loads(result.stdout), dict)  # standard output is no terminal here
