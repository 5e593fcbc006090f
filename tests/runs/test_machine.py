from __future__ import annotations

import subprocess
from pathlib import Path

import statformer
from statformer.runs import machine as module
from statformer.runs.machine import commit, machine, sources_digest, versions


def test_the_machine_is_described() -> None:
    found = machine()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["processor"]
    assert len(found["load_average"]) == 3


def test_versions_name_what_is_missing() -> None:
    found = versions(("numpy", "statformer", "no-such-package"))
    assert found["statformer"] == statformer.__version__
    assert found["numpy"]
    assert found["no-such-package"] is None


def test_a_commit_says_whether_the_sources_differ(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "pkg"
    (package / "runs").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(package / "runs" / "machine.py"))
    assert commit() is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    (package / "x.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "-qm", "x")
    head = git("rev-parse", "HEAD")
    assert commit() == head
    digest = sources_digest()
    (package / "x.py").write_text("x = 2\n")
    assert commit() == head + "+changes"
    assert sources_digest() != digest
    (package / "cli").mkdir()
    digest = sources_digest()
    (package / "cli" / "y.py").write_text("y = 1\n")
    assert sources_digest() == digest
