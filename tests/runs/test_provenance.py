from __future__ import annotations

import subprocess
from pathlib import Path

from statformer.runs.provenance import provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_file_is_traced_to_the_commit_that_last_changed_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("1\n")
    assert provenance(one).note == "not a checkout"
    git(tmp_path, "init", "--quiet")
    assert provenance(one).note == "never committed"
    git(tmp_path, "add", "one.py")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    first = git(tmp_path, "rev-parse", "HEAD")
    two.write_text("2\n")
    git(tmp_path, "add", "two.py")
    git(tmp_path, "commit", "--quiet", "--message", "two")
    second = git(tmp_path, "rev-parse", "HEAD")

    found = provenance(one)
    assert (found.commit, found.is_clean, found.note) == (first, True, "")
    assert found.date == git(tmp_path, "log", "-1", "--format=%cI", first)
    assert provenance(one, two).commit == second

    two.write_text("3\n")
    assert provenance(one).is_clean
    found = provenance(one, two)
    assert (found.commit, found.is_clean, found.note) == (second, False, "uncommitted changes")
    third = tmp_path / "three.py"
    third.write_text("3\n")
    assert not provenance(one, third).is_clean  # one of them was never committed
