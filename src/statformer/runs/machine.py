"""Where and with what something was measured: processor, memory, versions, commit, load."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("statformer", "numpy", "scipy", "scikit-learn", "pandas", "torch", "threadpoolctl")


def machine() -> dict[str, Any]:
    """Processor, cores, memory in GiB, system, Python, load averages over 1, 5 and 15 minutes."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": list(psutil.getloadavg()),
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """Installed versions; None for a package that is not there."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def commit() -> str | None:
    """The commit of the checkout this package runs from, "+changes" where the sources differ.

    None where it is not a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    head = git_output(package, "rev-parse", "HEAD")
    if head is None:
        return None
    return head + ("+changes" if git_output(package, "status", "--porcelain", "--", ".") else "")


def sources_digest() -> str:
    """SHA-256 over the Python sources of the package, command line and plots left out.

    Numbers measured under another digest may come from other code.
    """
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in {"cli", "plotting"}:
            digest.update(str(name).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def git_output(folder: Path, *arguments: str) -> str | None:
    """What git prints for the checkout around `folder`; None where there is none, or no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
