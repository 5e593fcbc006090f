"""Who proposes a labeling: the names that the judge knows, in the order of its inputs."""

from __future__ import annotations

from statformer.proposals.linkages import HABITS

MERGED = tuple(HABITS)

LEARNED = "learned layers"
MIDDLE = "learned layers, early"
LLOYD = "Lloyd"
TEXTBOOK = (
    "full",
    "full, small ridge",
    "full, large ridge",
    "diagonal",
    "tied",
    "spherical",
)
KINDS = (LEARNED, MIDDLE, LLOYD, *TEXTBOOK, *MERGED)
STRANGER = -1  # a labeling that none of these made
RUN_FEATURES = ("gain in log density", "confidence", "components lost", "robustness", "temperature")
