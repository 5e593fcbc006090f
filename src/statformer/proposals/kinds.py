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
STRANGER = -1  # a labeling that none of these made: in training, mostly the truth, corrupted
# A labeling from somebody else. It is not called a stranger: those of the training are better than
# clusterings are, and the judge expects too much of them (.61 where .38 is reached; without: .43).
NOBODY = -2
RUN_FEATURES = ("gain in log density", "confidence", "components lost", "robustness", "temperature")
