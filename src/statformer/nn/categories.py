"""Categorical columns in the E and M layers: each component has its own share of every category.

Axes: b tables, s starts of a table, B = b s runs, n points, d features, c components,
q categories of all categorical columns side by side.
"""

from __future__ import annotations

from dataclasses import replace

from array_api_compat import array_namespace, device

from statformer.batch import Array, Centres, Tables

# Pseudo-rows of each component and column, spread as the whole table is (ours). One row keeps every
# share above 0 and is forgotten by clusters of a few dozen rows.
PRIOR_ROWS = 1.0
_TINY = 1e-30


class Categories:
    """The M attention for categorical columns.

    With e_iq 1 where row i has category q, and [q] the categories of q's column,

        theta_kq = (sum_i w_i r_ik e_iq + alpha share_q) / (sum_i w_i r_ik e_i[q] + alpha),
        share_q = sum_i w_i e_iq / sum_i w_i e_i[q],   alpha = `PRIOR_ROWS`.

    A row whose category is missing has e_i[q] = 0 and counts nowhere. This is the posterior mode
    under a Dirichlet(1 + alpha share) prior. Robustness weights belong to the Student-t part and do
    not enter: they are exact for numbers only.
    """

    def __init__(self, tables: Tables) -> None:
        xp = array_namespace(tables.onehot)
        self.xp, self.onehot, self.same_block = xp, tables.onehot, tables.same_block
        counts = xp.matmul(tables.weight[:, None, :], tables.onehot)  # b 1 q
        block = xp.matmul(counts, tables.same_block)
        self.share = counts / xp.where(block > 0, block, xp.ones_like(block))

    def theta(self, weighted: Array) -> Array:
        """theta "B c q" from weighted = w r "B c n"."""
        xp = self.xp
        runs, c, n = weighted.shape
        b, _, q = self.share.shape
        flat = xp.reshape(weighted, (b, (runs // b) * c, n))
        counts = xp.matmul(flat, self.onehot)
        block = xp.matmul(counts, self.same_block)
        theta = (counts + PRIOR_ROWS * self.share) / (block + PRIOR_ROWS)
        return xp.reshape(theta, (runs, c, q))


def category_score(tables: Tables, centres: Centres) -> Array:
    """sum_q e_iq log theta_kq "B c n": log probability of a row's categories, missing ones 0."""
    onehot, theta = tables.onehot, centres.categories
    if onehot is None or theta is None:
        raise ValueError("Tables(onehot) and Centres(categories) go together; one of them is None")
    xp = array_namespace(onehot)
    runs, c, q = theta.shape
    b, n, _ = onehot.shape
    flat = xp.reshape(xp.log(xp.clip(theta, _TINY, None)), (b, (runs // b) * c, q))
    return xp.reshape(xp.matmul(flat, xp.permute_dims(onehot, (0, 2, 1))), (runs, c, n))


def with_a_column(tables: Tables) -> Tables:
    """Tables without a numeric column get one that is padding; others are returned as they are.

    Raises ValueError where there is no categorical column either.
    """
    if tables.X.shape[2]:
        return tables
    if tables.onehot is None:
        raise ValueError("Tables(X) has no column and onehot=None; give at least one of the two")
    xp = array_namespace(tables.X)
    b, n, _ = tables.X.shape
    where = device(tables.X)
    return replace(
        tables,
        X=xp.zeros((b, n, 1), dtype=tables.X.dtype, device=where),
        is_feature=xp.zeros((b, 1), dtype=xp.bool, device=where),
        observed=None,
    )


def centres_with_a_column(centres: Centres) -> Centres:
    """The same for centres: mean 0 and variance 1 in the column that is padding."""
    if centres.means.shape[-1]:
        return centres
    xp = array_namespace(centres.weights)
    one = xp.ones_like(centres.weights)
    return replace(
        centres,
        means=(one - one)[..., None],
        covariances=one[..., None, None] * xp.ones_like(one[:1, :1, None, None]),
    )


def without_the_column(centres: Centres) -> Centres:
    """Undo `centres_with_a_column`."""
    return replace(
        centres, means=centres.means[..., :0], covariances=centres.covariances[..., :0, :0]
    )
