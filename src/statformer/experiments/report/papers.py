"""Titles of the papers whose claims are tested, in the order of the site."""

from __future__ import annotations

from collections.abc import Iterable

TITLES = {
    "2502.06007": "Transformers versus the EM Algorithm in Multi-class Clustering",
    "ours": "Claims of our own",
    "2501.01312": "Learning Spectral Methods by Transformers",
    "2501.02547": "Transformers Simulate MLE for Sequence Generation in Bayesian Networks",
    "2411.10830": "One-Layer Transformer Provably Learns One-Nearest Neighbor In Context",
    "2412.19444": "Towards Simple and Provable Parameter-Free Adaptive Gradient Methods",
    "2505.11918": (
        "Transformers as Unsupervised Learning Algorithms: A study on Gaussian Mixtures"
    ),
    "2306.04637": (
        "Transformers as Statisticians: Provable In-Context Learning with In-Context Algorithm "
        "Selection"
    ),
    "2412.01021": "On the Feature Learning in Diffusion Models",
    "2411.02837": ("On the Comparison between Multi-modal and Single-modal Contrastive Learning"),
    "2410.19139": (
        "Initialization Matters: On the Benign Overfitting of Two-Layer ReLU CNN with Fully "
        "Trainable Layers"
    ),
    "2409.18685": (
        "Understanding the Benefits of SimCLR Pre-Training in Two-Layer Convolutional Neural "
        "Networks"
    ),
    "2409.19345": "Unveil Benign Overfitting for Transformer in Vision",
    "2410.23610": "Global Convergence in Training Large-Scale Transformers",
    "2303.04145": "Benign Overfitting for Two-layer ReLU Convolutional Neural Networks",
    "2409.17589": "Improving Fast Adversarial Training via Self-Knowledge Guidance",
    "2410.08292": (
        "Can Looped Transformers Learn to Implement Multi-step Gradient Descent for In-context "
        "Learning?"
    ),
}


def title(paper: str) -> str:
    """The title of an arXiv id; of an id that is not listed, the id itself."""
    return TITLES.get(paper, f"arXiv {paper}")


def in_order(papers: Iterable[str]) -> list[str]:
    """The papers once each: those listed above in that order, then others by id."""
    known = list(TITLES)
    return sorted(
        set(papers),
        key=lambda paper: (known.index(paper) if paper in TITLES else len(known), paper),
    )
