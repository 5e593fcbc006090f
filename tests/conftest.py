"""What every test meets: shapes checked at run time, and global state left as found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jaxtyping import install_import_hook

from guards import changes, global_state

# The layers that do the mathematics. Estimators and commands take whatever a user hands them and
# answer with their own errors, so they are left alone.
install_import_hook(
    [
        "statformer.batch",
        "statformer.constructions",
        "statformer.nn",
        "statformer.objectives",
        "statformer.reference",
        "statformer.tasks",
    ],
    "guards.checked",
)


@pytest.fixture(autouse=True)
def global_state_is_left_as_found() -> Iterator[None]:
    before = global_state()
    yield
    changed = changes(before, global_state())
    assert not changed, f"the test changed {', '.join(changed)}"
