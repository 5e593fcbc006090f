"""The judge: labelings of one table look at each other, and each is told how good it is (ours).

Each labeling is a token: invariant features of it (`proposals.labelings`), of the run that made it,
and of the table. Tokens attend to each other; who agrees with whom enters the attention as a
number, the adjusted Rand index of the two labelings. The judge answers with the expected adjusted
Rand index of each labeling against the truth, with P(K | X), and with how far the labeling's
responsibilities are to be trusted.

Written against the array API: numpy for users, torch for training.

Axes: b tables, m labelings, f features of a token, g features of a table, j numbers of components
(entry j is K = j + 1, the last entry is "more than was tried"), h hidden units, a heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from array_api_compat import array_namespace, device

from statformer.batch import Array

N_BLOCKS = 2
N_HEADS = 4
N_COMPANY = 4
N_BINS = 8
APART = 2.0  # standard deviations from the mean of a table's tokens that still count
STEPS = 2  # differences of K beyond this many share a bias
_ABSENT = -1e9


@dataclass(frozen=True)
class Judgement:
    """What the judge says.

    logit   "b m"    logit of the expected adjusted Rand index
    log_p   "b j"    log P(K); the last entry is P(K beyond what was tried)
    doubt   "b m"    in (0, 1): share of each responsibility to spread evenly over the clusters
    """

    logit: Array
    log_p: Array
    doubt: Array

    @property
    def expected_ari(self) -> Array:
        """Expected adjusted Rand index "b m", in (0, 1)."""
        xp = array_namespace(self.logit)
        return 1.0 / (1.0 + xp.exp(-self.logit))


@dataclass(frozen=True)
class Evidence:
    """What the judge reads.

    tokens       "b m f"  features of labelings and of the runs that made them
    table        "b g"    features of the table
    agreement    "b m m"  adjusted Rand index of each pair
    n_clusters   "b m"    K of each labeling, 1 or more
    is_there     "b m"    False for padding
    """

    tokens: Array
    table: Array
    agreement: Array
    n_clusters: Array
    is_there: Array


def of_the_best(logit: Array, weights: Mapping[str, Array]) -> Array:
    """Expected ARI of the labeling with the highest logit among several, sigma(a logit + b).

    The best of many answers is the one that erred upwards; (a, b) = "pick" was fitted to what the
    best reached on tables that the judge was not trained on.
    """
    xp = array_namespace(logit)
    a, b = weights["pick"][0], weights["pick"][1]
    return 1.0 / (1.0 + xp.exp(-(a * logit + b)))


class Judge:
    """(tokens, table, agreement) -> expected ARI, P(K), doubt.

    x_i = tanh(W_in (bins(token_i), token_i - mean_j token_j, company_i, bins(table))): bins says
    how far a feature has come through each bin of its range in training, and company how far the
    others agree, in all and among those of the same K. Beyond the range nothing grows: on tables of
    another kind the answer stays that of the nearest tables it knows. Two blocks of attention with
    scores

        s_ij = q_i . k_j / sqrt(h / a) + alpha agreement_ij + beta_{K_j - K_i}

    and a perceptron each, both added; then one perceptron per answer. P(K) reads the mean of the
    tokens of each K, their mean in proportion to exp(2 logit), its steps from K - 1 and to K + 1,
    and the mean of all.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = dict(weights)

    def __call__(self, evidence: Evidence, max_components: int) -> Judgement:
        """P(K) for K = 1..max_components; a K without a token gets probability 0."""
        w = self.weights
        xp = array_namespace(evidence.tokens)
        there = evidence.is_there
        token = xp.clip((evidence.tokens - w["token_mean"]) / w["token_scale"], -5.0, 5.0)
        binned = in_bins(evidence.tokens, w["token_edges"])
        table = in_bins(evidence.table, w["table_edges"])
        keep = xp.astype(there, token.dtype)[..., None]
        many = xp.clip(xp.sum(keep, axis=1, keepdims=True), 1.0, None)
        apart = token - xp.sum(token * keep, axis=1, keepdims=True) / many
        apart = xp.clip(apart, -APART, APART)
        token = xp.concat([binned, apart, company(evidence)], axis=-1)
        x = xp.matmul(token, w["W_token"]) + xp.matmul(table, w["W_table"])[:, None, :] + w["b_in"]
        x = xp.tanh(x)
        bias = self._bias(evidence)
        for block in range(N_BLOCKS):
            x = x + self._attend(x, bias[block], block)
            hidden = xp.tanh(xp.matmul(x, w["W_up"][block]) + w["b_up"][block])
            x = x + xp.matmul(hidden, w["W_down"][block]) + w["b_down"][block]
        x = xp.tanh(x)
        hidden = xp.tanh(xp.matmul(x, w["W_ari"]) + w["b_ari"])
        logit = xp.matmul(hidden, w["w_ari"])[..., 0] + w["c_ari"]
        hidden = xp.tanh(xp.matmul(x, w["W_doubt"]) + w["b_doubt"])
        doubt = xp.matmul(hidden, w["w_doubt"])[..., 0] + w["c_doubt"]
        log_p = self._count(x, logit, keep, evidence.n_clusters, max_components)
        return Judgement(logit, log_p, 1.0 / (1.0 + xp.exp(-doubt)))

    def _bias(self, evidence: Evidence) -> list[Array]:
        """Attention biases "b a m m" of each block from agreement and differences of K."""
        w = self.weights
        xp = array_namespace(evidence.tokens)
        K = evidence.n_clusters
        step = xp.clip(K[:, None, :] - K[:, :, None], -STEPS, STEPS) + STEPS
        b, m = K.shape
        absent = xp.where(evidence.is_there, 0.0, _ABSENT)[:, None, None, :]
        found = []
        for block in range(N_BLOCKS):
            of_step = xp.take(w["beta"][block], xp.reshape(step, (-1,)), axis=0)
            of_step = xp.permute_dims(xp.reshape(of_step, (b, m, m, N_HEADS)), (0, 3, 1, 2))
            alike = w["alpha"][block][None, :, None, None] * evidence.agreement[:, None, :, :]
            found.append(of_step + alike + xp.astype(absent, of_step.dtype))
        return found

    def _attend(self, x: Array, bias: Array, block: int) -> Array:
        w = self.weights
        xp = array_namespace(x)
        b, m, h = x.shape
        size = h // N_HEADS

        def heads(name: str) -> Array:
            found = xp.reshape(xp.matmul(x, w[name][block]), (b, m, N_HEADS, size))
            return xp.permute_dims(found, (0, 2, 1, 3))

        query, key, value = heads("W_query"), heads("W_key"), heads("W_value")
        score = xp.matmul(query, xp.permute_dims(key, (0, 1, 3, 2))) / math.sqrt(size) + bias
        score = xp.exp(score - xp.max(score, axis=-1, keepdims=True))
        score = score / xp.sum(score, axis=-1, keepdims=True)
        seen = xp.permute_dims(xp.matmul(score, value), (0, 2, 1, 3))
        return xp.matmul(xp.reshape(seen, (b, m, h)), w["W_out"][block])

    def _count(
        self, x: Array, score: Array, keep: Array, n_clusters: Array, max_components: int
    ) -> Array:
        w = self.weights
        xp = array_namespace(x)
        K = xp.arange(1, max_components + 1, device=device(x))
        of = xp.astype(n_clusters[:, None, :] == K[None, :, None], x.dtype)  # b j m
        of = of * keep[:, None, :, 0]
        n = xp.sum(of, axis=-1, keepdims=True)
        mean = xp.matmul(of, x) / xp.clip(n, 1.0, None)  # b j h
        trusted = of * xp.exp(xp.clip(2.0 * score, -12.0, 12.0))[:, None, :]
        weight = xp.sum(trusted, axis=-1, keepdims=True)
        best = xp.matmul(trusted, x) / xp.clip(weight, 1e-9, None)
        total = xp.clip(xp.sum(keep, axis=1, keepdims=True), 1.0, None)
        whole = xp.sum(x * keep, axis=1, keepdims=True) / total + xp.zeros_like(mean)
        # what one cluster more changed, and what the next one will
        both = (n[:, 1:, :] > 0) & (n[:, :-1, :] > 0)
        step = xp.where(both, best[:, 1:, :] - best[:, :-1, :], xp.zeros_like(best[:, 1:, :]))
        none = xp.zeros_like(best[:, :1, :])
        back, ahead = xp.concat([none, step], axis=1), xp.concat([step, none], axis=1)
        read = xp.concat([mean, best, whole, back, ahead], axis=-1)
        hidden = xp.tanh(xp.matmul(read, w["W_count"]) + w["b_count"])
        logit = xp.matmul(hidden, w["w_count"])[..., 0]
        logit = xp.where(n[..., 0] > 0, logit, xp.full_like(logit, -math.inf))
        # whether the truth lies beyond is read off the largest K that was tried
        tried = xp.astype(n[..., 0] > 0, x.dtype) * xp.astype(K, x.dtype)[None, :]
        at = xp.argmax(tried, axis=-1)[:, None, None]
        last = xp.take_along_axis(
            hidden, xp.broadcast_to(at, (x.shape[0], 1, hidden.shape[-1])), axis=1
        )
        beyond = xp.matmul(last[:, 0, :], w["w_beyond"]) + w["c_beyond"]
        logit = xp.concat([logit, beyond], axis=-1)
        top = xp.max(logit, axis=-1, keepdims=True)
        return logit - top - xp.log(xp.sum(xp.exp(logit - top), axis=-1, keepdims=True))


def in_bins(features: Array, edges: Array) -> Array:
    """How far each feature has come through each of its bins, 0 to 1: "... (f k)" of edges "f k+1".

    The piecewise linear encoding of Gorishniy et al. 2022 (arXiv 2203.05556).
    """
    xp = array_namespace(features)
    low, width = edges[:, :-1], edges[:, 1:] - edges[:, :-1]
    through = xp.clip((features[..., None] - low) / width, 0.0, 1.0)
    return xp.reshape(through, (*features.shape[:-1], low.shape[0] * low.shape[1]))


def company(evidence: Evidence) -> Array:
    """Agreement "b m 4" with the others: mean, mean and best at the same K, log of how many."""
    xp = array_namespace(evidence.tokens)
    A, K, there = evidence.agreement, evidence.n_clusters, evidence.is_there
    m = K.shape[1]
    other = (xp.eye(m, device=device(A)) < 0.5)[None] & there[:, :, None] & there[:, None, :]
    same = other & (K[:, None, :] == K[:, :, None])

    def mean(which: Array) -> Array:
        count = xp.sum(xp.astype(which, A.dtype), axis=-1)
        total = xp.sum(xp.where(which, A, xp.zeros_like(A)), axis=-1)
        return xp.where(count > 0, total / xp.clip(count, 1.0, None), xp.full_like(count, 0.5))

    best = xp.max(xp.where(same, A, xp.full_like(A, -1.0)), axis=-1)
    many = xp.log(xp.sum(xp.astype(there, A.dtype), axis=-1)) - 3.0
    return xp.stack([mean(other), mean(same), best, many[:, None] + xp.zeros_like(best)], axis=-1)


def judge_shapes(n_token: int, n_table: int, n_hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a `Judge`."""
    h, n = n_hidden, N_BLOCKS
    return {
        "token_mean": (n_token,),
        "token_scale": (n_token,),
        "token_edges": (n_token, N_BINS + 1),
        "table_edges": (n_table, N_BINS + 1),
        "pick": (2,),
        "W_token": (n_token * (N_BINS + 1) + N_COMPANY, h),
        "W_table": (n_table * N_BINS, h),
        "b_in": (h,),
        "alpha": (n, N_HEADS),
        "beta": (n, 2 * STEPS + 1, N_HEADS),
        **dict.fromkeys(("W_query", "W_key", "W_value", "W_out"), (n, h, h)),
        "W_up": (n, h, 2 * h),
        "b_up": (n, 2 * h),
        "W_down": (n, 2 * h, h),
        "b_down": (n, h),
        "W_ari": (h, h),
        "b_ari": (h,),
        "w_ari": (h, 1),
        "c_ari": (1,),
        "W_doubt": (h, h),
        "b_doubt": (h,),
        "w_doubt": (h, 1),
        "c_doubt": (1,),
        "W_count": (5 * h, h),
        "b_count": (h,),
        "w_count": (h, 1),
        "w_beyond": (h, 1),
        "c_beyond": (1,),
    }
