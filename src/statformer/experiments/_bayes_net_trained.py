"""Networks of the paper's kind for experiments: shipped ones, and small ones trained in a cell."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from statformer.benchmarks.bayesnet_transformer import answers
from statformer.experiments._bayes_net_counts import Answers
from statformer.nn.bayes_net_transformer import BayesNetTransformer
from statformer.pretraining import pretrain
from statformer.pretraining.recipes.bayes_net import BayesNetRecipe, load_bayes_net_transformer

SHIPPED = "bayes_net_general"
SMALLER = (
    "2 layers of width 64 in place of 4 of width 256, one seed, and fewer steps; no dropout, no "
    "positions"
)


def shipped(name: str = SHIPPED) -> Answers:
    """Answers of a network that the package ships."""
    return partial(answers, load_bayes_net_transformer(name))


def train(recipe: BayesNetRecipe, n_steps: int, seed: int) -> BayesNetTransformer:
    """A network trained here and now; its files are not kept."""
    with TemporaryDirectory() as folder:
        result = pretrain(
            recipe,
            out_dir=Path(folder),
            n_steps=n_steps,
            seed=seed,
            checkpoint_every_s=float("inf"),
        )
    module = result.module.eval().requires_grad_(False)
    assert isinstance(module, BayesNetTransformer)
    return module
