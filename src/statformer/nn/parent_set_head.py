"""The learned half of the random-DAG network: which candidate sets, and how smooth their tables.

Written against the array API: numpy for users, torch for training.

Axes: s and t candidate sets, g concentrations, f features, h hidden units, q queries, d categories;
any axes of tables may come before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from array_api_compat import array_namespace, device

from statformer.batch import Array
from statformer.nn.parent_set_features import CONCENTRATIONS, N_FEATURES, Reading, log_sum_exp

N_OUT = 3  # correction of the logit, log of the factor of the concentration, logit of the back-off
_NONE = -1e30


@dataclass(frozen=True)
class Verdict:
    """What the network says of the candidates.

    logits     "... s"    log posterior up to a constant, minus the shift of the reading
    shares     "... s g"  of the concentrations, summing to 1
    factor     "... s"    by which the concentrations are multiplied
    back_off   "... s"    in [0, 1): how much of the smoothing leans on smaller sets
    """

    logits: Array
    shares: Array
    factor: Array
    back_off: Array


def head_shapes(n_hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights by name."""
    g = len(CONCENTRATIONS)
    return {
        "log_pi": (g,),
        "W_1": (N_FEATURES, n_hidden),
        "b_1": (n_hidden,),
        "W_pi": (2 * n_hidden, g),
        "W_2": (3 * n_hidden, n_hidden),
        "b_2": (n_hidden,),
        "W_out": (n_hidden, N_OUT),
        "b_out": (N_OUT,),
    }


def weigh(weights: Mapping[str, Array], reading: Reading) -> Verdict:
    """Verdict on the candidates of a reading.

        x_S = tanh(W_1 features_S + b_1),      context = (sum_S A_S x_S, mean_S x_S)
        log e_Sg = evidence_Sg + log_pi_g + (W_pi context)_g
        y_S = W_out tanh(W_2 (x_S, context) + b_2) + b_out
        logit_S = log sum_g e_Sg + log prior(S) + y_S1

    with A the attention of the reading. The shares are e_Sg / sum_g e_Sg, the factor exp(y_S2)
    within e^-3 .. e^3, the back-off the sigmoid of y_S3.
    """
    xp = array_namespace(reading.features)
    w = weights
    x = xp.tanh(reading.features @ w["W_1"] + w["b_1"])
    heard = xp.sum(reading.attention()[..., None] * x, axis=-2)
    context = xp.concat([heard, xp.mean(x, axis=-2)], axis=-1)
    hyper = w["log_pi"] + context @ w["W_pi"]
    hyper = hyper - log_sum_exp(hyper)[..., None]
    joint = reading.evidence + hyper[..., None, :]
    marginal = log_sum_exp(joint)
    around = xp.broadcast_to(context[..., None, :], (*x.shape[:-1], context.shape[-1]))
    hidden = xp.tanh(xp.concat([x, around], axis=-1) @ w["W_2"] + w["b_2"])
    y = hidden @ w["W_out"] + w["b_out"]
    return Verdict(
        marginal + reading.log_prior + y[..., 0],
        xp.exp(joint - marginal[..., None]),
        xp.exp(3.0 * xp.tanh(y[..., 1] / 3.0)),
        0.5 + 0.5 * xp.tanh(0.5 * y[..., 2]),
    )


def probabilities(logits: Array) -> Array:
    """softmax over the candidates, "... s"."""
    xp = array_namespace(logits)
    return xp.exp(logits - log_sum_exp(logits)[..., None])


def leaning(logits: Array, is_subset: Array) -> Array:
    """softmax over the strict subsets t of s, "... s t"; 0 where s has none."""
    xp = array_namespace(logits)
    among = xp.where(is_subset, logits[..., None, :], xp.full_like(logits[..., None, :], _NONE))
    top = xp.max(among, axis=-1, keepdims=True)
    power = xp.astype(is_subset, logits.dtype) * xp.exp(among - top)
    mass = xp.sum(power, axis=-1, keepdims=True)
    return power / xp.where(mass > 0, mass, xp.ones_like(mass))


def smoothed(counts: Array, verdict: Verdict, lean: Array) -> Array:
    """p_S(x) "... q s d" at queries where S has counts n_x that sum to N.

        p_S(x) = sum_g share_Sg (n_x + a d base_S(x)) / (N + a d),      a = a_g factor_S
        base_S(x) = (1 - b_S) / d + b_S sum_T lean_ST plain_T(x),       b_S the back-off of S

    where plain is p with base = 1/d. A set without subsets among the candidates has b_S = 0.
    """
    xp = array_namespace(counts)
    d = counts.shape[-1]
    rows = xp.sum(counts, axis=-1)
    grid = xp.asarray(CONCENTRATIONS, dtype=counts.dtype, device=device(counts))
    mass = d * verdict.factor[..., None, :, None] * grid  # ... 1 s g
    scale = verdict.shares[..., None, :, :] / (rows[..., None] + mass)
    of_counts = xp.sum(scale, axis=-1)[..., None]
    of_base = xp.sum(scale * mass, axis=-1)[..., None]
    plain = counts * of_counts + of_base / d
    has_any = xp.astype(xp.sum(lean, axis=-1) > 0, counts.dtype)
    b = (verdict.back_off * has_any)[..., None, :, None]
    by_set = xp.moveaxis(plain, -2, -3)  # one product of matrices for all queries
    leant = lean @ xp.reshape(by_set, (*by_set.shape[:-2], -1))
    leant = xp.moveaxis(xp.reshape(leant, by_set.shape), -3, -2)
    return counts * of_counts + of_base * ((1.0 - b) / d + b * leant)
