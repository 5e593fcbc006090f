"""Two attention layers that read a query beside a context of rows; every matrix is visible.

Each query is a prompt of its own: the context tokens and the query token. Per layer

    H <- H + softmax(H W_QK H') H W_OV,    H <- H + relu(H W_in) W_out

and what is read is the query token after the last layer. No scale, bias or mask is hidden. The
weights are those of `constructions/bayes_net.py`. Written against the array API.

Axes: l layers, n context rows, q queries, m token width, f hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping

from array_api_compat import array_namespace

from statformer.batch import Array
from statformer.nn.selector import Selection

NAMES = ("W_QK", "W_OV", "W_in", "W_out")


class PromptTransformer:
    """(context "n m", queries "q m") -> query tokens "q m".

    weights: "W_QK" and "W_OV" "l m m", "W_in" "l m f", "W_out" "l f m".

    All queries of a call share one pass over the context. That is the same as q prompts when the
    first layer cannot tell the queries apart as keys, and needs two layers at most; both are
    checked. A layer whose W_QK is 0 attends to all tokens alike, and costs no scores.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        """Raises ValueError for a missing or foreign name, or more than two layers."""
        if set(weights) != set(NAMES):
            raise ValueError(f"weights are named {sorted(weights)}; pass {', '.join(NAMES)}")
        if len(weights["W_QK"]) > 2:
            raise ValueError(f"weights have {len(weights['W_QK'])} layers; one or two can be run")
        self.weights = dict(weights)

    def __call__(self, context: Array, queries: Array, keep: Array | None = None) -> Array:
        """Query tokens after the last layer; row i of the context counts `keep[i]` times.

        Raises ValueError where the first layer hears another thing of one query than of the next.
        """
        xp = array_namespace(context, queries)
        if keep is None:
            keep = xp.ones_like(context[:, 0])
        n_layers = len(self.weights["W_QK"])
        if n_layers == 2:
            self._need_one_voice(queries)
            voice = xp.broadcast_to(queries[:1], context.shape)
            spoken = self._layer(0, context, voice, context, keep)
            context, queries = spoken, self._layer(0, queries, queries, context, keep)
        return self._layer(n_layers - 1, queries, queries, context, keep)

    def _layer(
        self, layer: int, tokens: Array, prompt_query: Array, context: Array, keep: Array
    ) -> Array:
        """`tokens` one layer on; each hears the context and the query token of its own prompt."""
        H = tokens + self._heard(layer, tokens, prompt_query, context, keep)
        xp = array_namespace(H)
        hidden = H @ self.weights["W_in"][layer]
        positive = xp.where(hidden > 0, hidden, xp.zeros_like(hidden))
        return H + positive @ self.weights["W_out"][layer]

    def _heard(
        self, layer: int, tokens: Array, prompt_query: Array, context: Array, keep: Array
    ) -> Array:
        xp = array_namespace(tokens)
        W_QK, W_OV = self.weights["W_QK"][layer], self.weights["W_OV"][layer]
        if not bool(xp.any(W_QK != 0)):
            return (keep @ context + prompt_query) @ W_OV / (xp.sum(keep) + 1)
        asked = tokens @ W_QK
        heard = Selection.of(asked @ context.T, context @ W_OV, keep[None])
        own_scores = xp.sum(asked * prompt_query, axis=-1)[:, None]
        own = Selection.of(own_scores, (prompt_query @ W_OV)[:, None])
        return heard.merge(own).labels()

    def _need_one_voice(self, queries: Array) -> None:
        """What layer 1 hears of a query, as a key and as a value, must be the same for all."""
        xp = array_namespace(queries)
        other = queries - queries[:1]
        for heard in (other @ self.weights["W_QK"][0].T, other @ self.weights["W_OV"][0]):
            if bool(xp.any(heard != 0)):
                raise ValueError(
                    "queries differ in what the first layer hears of them, so that they share no "
                    "context; pass them one by one"
                )
