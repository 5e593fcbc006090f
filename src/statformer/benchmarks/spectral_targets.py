"""What was to be reached with spectral methods, and whether it was: read from finished cells.

"short" is said as plainly as "reached". Goals of (b) are what the paper or its reviewers report;
"reached" then means that we find the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from statformer.benchmarks import spectral_constructed, spectral_two_classes
from statformer.benchmarks.spectral_paper import paper_targets
from statformer.benchmarks.spectral_robust import OTHER, OURS
from statformer.benchmarks.spectral_tables import CLEAN
from statformer.benchmarks.verdicts import MISSING, REACHED, SHORT, Cells, Target

MOST_APART = 1e-10  # construction and textbook, the same steps from the same start
OVER_SVD, SHARE_BEST, BEHIND = 2.0, 0.5, 5.0  # degrees, share of the corrupted cells, degrees
NO_DIFFERENCE = 0.05  # degrees; iterations that stop a little apart are not apart


def targets(cells: Cells, parts: Iterable[str] = "abce") -> list[Target]:
    """All targets of the parts, in the order of the parts."""
    by_part: dict[str, Callable[[Mapping[str, Any]], Sequence[Target]]] = {
        "a": _constructed,
        "b": paper_targets,
        "c": _robust,
        "e": _two_classes,
    }
    found: list[Target] = []
    for part in parts:
        if part in by_part:
            mine = {k.partition(": ")[2]: c for k, c in cells.items() if c["part"] == part}
            found += by_part[part](mine)
    return found


def _constructed(cells: Cells) -> list[Target]:
    """The same answer as the textbook algorithm, at every eigengap and depth."""
    found = []
    for name in spectral_constructed.CONSTRUCTIONS:
        goal = f"{name}: at most {MOST_APART:g} from the power method with as many steps"
        apart = [cell["largest gap to the power method"][name] for cell in cells.values()]
        status = REACHED if max(apart) <= MOST_APART else SHORT
        found.append(Target("a", goal, f"{max(apart):.1e} in {len(apart)} cells", status))
    return found


def _robust(cells: Cells) -> list[Target]:
    """The goals of the default form, then those of the other one, which are no headlines."""
    found = [target for form in (OURS, OTHER) for target in _of_form(cells, form)]
    crashed = [name for name, cell in cells.items() if cell["crash rate"][OURS] > 0]
    text = f"{len(crashed)} of {len(cells)} cells with a crash"
    return [*found, Target("c", "crash rate 0", text, SHORT if crashed else REACHED)]


def _of_form(cells: Cells, form: str) -> list[Target]:
    """Clean tables within 2 degrees of SVD; best or tied in half of the others; 5 degrees."""
    is_judged = form == OURS
    clean = {name: cell for name, cell in cells.items() if cell["group"] == CLEAN}
    corrupted = {name: cell for name, cell in cells.items() if cell["group"] != CLEAN}
    found = []
    goal = f"{form}, clean: no more than {OVER_SVD:g} degrees over SVD"
    if clean:
        name, worst = _largest(clean, "minus SVD", form)
        status = REACHED if worst["value"] <= OVER_SVD else SHORT
        found.append(Target("c", goal, f"{_degrees(worst)}: {name}", status, is_judged))
    else:
        found.append(Target("c", goal, "no cell", MISSING, is_judged))
    goal = f"{form}: best or tied in at least {SHARE_BEST:.0%} of the corrupted cells"
    if not corrupted:
        return [*found, Target("c", goal, "no cell", MISSING, is_judged)]
    gaps = {name: cell["minus the best rival"][form] for name, cell in cells.items()}
    tied = [name for name in corrupted if gaps[name]["low"] <= NO_DIFFERENCE]
    won = [name for name in corrupted if gaps[name]["high"] < 0]
    text = f"{len(tied)} of {len(corrupted)}, of them {len(won)} better than every rival"
    status = REACHED if len(tied) >= SHARE_BEST * len(corrupted) else SHORT
    found.append(Target("c", goal, text, status, is_judged))
    goal = f"{form}: never more than {BEHIND:g} degrees behind the best"
    far = [name for name, gap in gaps.items() if gap["value"] > BEHIND]
    name, worst = _largest(cells, "minus the best rival", form)
    text = f"{_degrees(worst)} to {cells[name]['best rival']}: {name}"
    text += f"; {len(far)} of {len(cells)} cells" if far else ""
    found.append(Target("c", goal, text, SHORT if far else REACHED, is_judged))
    for name, cell in corrupted.items():
        if is_judged and name not in tied:
            text = f"{_degrees(gaps[name])} to {cell['best rival']}"
            found.append(Target("c", f"{name}: best or tied", text, SHORT, is_headline=False))
    return found


def _two_classes(cells: Cells) -> list[Target]:
    """Ours: the network is not behind k-means at any separation."""
    found = []
    for rival in (spectral_two_classes.K_MEANS, spectral_two_classes.LAPACK):
        gaps = [
            (
                f"{name}, {level['radius over threshold']:g} of the threshold",
                level["ours minus"][rival],
            )
            for name, cell in cells.items()
            for level in cell["levels"]
        ]
        behind = [name for name, gap in gaps if gap["low"] > 0]
        text = f"{len(behind)} of {len(gaps)} cells behind"
        text += f": {', '.join(behind)}" if behind else ""
        goal = f"{spectral_two_classes.OURS}: nowhere behind {rival}"
        found.append(Target("e", goal, text, SHORT if behind else REACHED))
    return found


def _largest(cells: Cells, gap: str, form: str) -> tuple[str, Mapping[str, Any]]:
    """The cell in which a difference is largest, and the difference."""
    name = max(cells, key=lambda name: float(cells[name][gap][form]["value"]))
    return name, cells[name][gap][form]


def _degrees(found: Mapping[str, Any]) -> str:
    return "{value:+.1f} [{low:+.1f}, {high:+.1f}] degrees".format(**found)
