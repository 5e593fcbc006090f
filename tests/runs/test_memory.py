"""Peak memory above what was there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MiB = 2**20

# In a process of its own: memory that earlier work gave back may still be held by the allocator,
# and what is taken from there is not seen.
CODE = """
import json
import numpy as np
from statformer.runs.memory import peak_above
there = np.ones(32 * 2**20 // 8)
large = peak_above(lambda: np.ones(64 * 2**20 // 8).sum())
small = peak_above(lambda: np.ones(2**20 // 8).sum())
print(json.dumps([large, small, there[0]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_peak_of_what_was_given_back_counts_and_what_was_there_before_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    large, small, there = json.loads(done.stdout)
    assert 56 * MiB < large < 96 * MiB
    assert small < 24 * MiB
    assert there == 1.0
