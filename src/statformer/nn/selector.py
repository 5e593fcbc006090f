"""A sharp softmax that selects context rows and averages their labels, whole or chunk by chunk.

    a_qn = w_qn exp(s_qn) / sum_n w_qn exp(s_qn),    answer_q = sum_n a_qn label_n

Scores that grow with a match make it conditional frequencies (rows that agree on the parents) or
the nearest neighbour (the largest inner product). As the scores are scaled up, all mass goes to the
rows of the highest score, and rows that tie share it evenly.

Written against the array API: numpy for users, torch for training.

Axes: q queries, n context rows, v entries of a label; any axes of tables may come before them.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from statformer.batch import Array


def select(scores: Array, labels: Array, keep: Array | None = None) -> Array:
    """softmax(scores) @ labels, "... q v".

    scores  "... q n"    -inf is a row that does not count
    labels  "... n v" for all queries alike, or "... q n v"
    keep    "... q n" or anything that broadcasts to it: True for the rows that count; as numbers
            >= 0 it says how many times each counts, so that a row of 2 equals two rows

    Raises ValueError for shapes that do not fit, and where a query has no row that counts.
    """
    return Selection.of(scores, labels, keep).labels()


@dataclass(frozen=True)
class Selection:
    """The softmax of some context rows; `merge` joins those of two chunks of rows.

    So context may come chunk by chunk, in any order, in memory that does not grow with it (the
    running softmax of Milakov and Gimelshein 2018). A chunk of which nothing counts is harmless.

    top     "... q"    highest score; -inf where no row counts
    mass    "... q"    sum_n w_n exp(s_n - top)
    square  "... q"    sum_n w_n exp(2 (s_n - top))
    sums    "... q v"  sum_n w_n exp(s_n - top) label_n
    """

    top: Array
    mass: Array
    square: Array
    sums: Array

    @classmethod
    def of(cls, scores: Array, labels: Array, keep: Array | None = None) -> Selection:
        """The selection among one chunk of rows; arguments as in `select`.

        Raises ValueError for shapes that do not fit.
        """
        xp = array_namespace(scores, labels)
        per_query = labels.ndim == scores.ndim + 1
        fits = labels.shape[-2] == scores.shape[-1] if labels.ndim >= 2 else False
        if not fits or (labels.ndim > scores.ndim and not per_query):
            raise ValueError(
                f"labels of shape {tuple(labels.shape)} do not fit scores of shape "
                f"{tuple(scores.shape)}; pass labels '... n v' or '... q n v' for scores '... q n'"
            )
        if keep is not None:
            scores = xp.where(keep != 0, scores, -xp.inf)
        top = xp.max(scores, axis=-1)
        power = xp.exp(scores - _finite(top)[..., None])
        mass = power if keep is None else power * xp.astype(keep, scores.dtype)
        if per_query:
            sums = xp.matmul(mass[..., None, :], labels)[..., 0, :]
        else:
            sums = xp.matmul(mass, labels)
        return cls(top, xp.sum(mass, axis=-1), xp.vecdot(mass, power), sums)

    def merge(self, other: Selection) -> Selection:
        """The selection among the rows of both."""
        xp = array_namespace(self.top, other.top)
        top = xp.maximum(self.top, other.top)
        a, b = (xp.exp(part.top - _finite(top)) for part in (self, other))
        return Selection(
            top,
            a * self.mass + b * other.mass,
            a * a * self.square + b * b * other.square,
            a[..., None] * self.sums + b[..., None] * other.sums,
        )

    def labels(self) -> Array:
        """The mean label of the selected rows, "... q v".

        Raises ValueError where a query has no row that counts.
        """
        self._need_a_row()
        return self.sums / self.mass[..., None]

    def n_effective(self) -> Array:
        """1 / sum_n a_n^2, "... q": how many rows share the attention, 1 for a single one.

        Raises ValueError where a query has no row that counts.
        """
        self._need_a_row()
        return self.mass * self.mass / self.square

    def _need_a_row(self) -> None:
        xp = array_namespace(self.top)
        if not bool(xp.all(self.mass > 0)):
            raise ValueError(
                "a query has no context row that counts, where softmax has no value; "
                "keep at least one row per query or leave these queries out"
            )


def _finite(top: Array) -> Array:
    """`top` with 0 for -inf, so that exp(-inf - top) is 0 and not NaN."""
    xp = array_namespace(top)
    return xp.where(xp.isinf(top) & (top < 0), xp.zeros_like(top), top)
