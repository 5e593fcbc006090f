"""The scikit-learn boundary: tables in, clusterings and components out."""

from __future__ import annotations

from statformer.estimators.base import EmptyClusterWarning, MissingValuesWarning
from statformer.estimators.bayes_net import (
    AttentionBayesNet,
    ImpossibleEvidenceWarning,
    UnseenConfigurationWarning,
)
from statformer.estimators.decomposition import AttentionPCA
from statformer.estimators.depth import OutOfDepthError, OutOfDepthWarning
from statformer.estimators.io import load
from statformer.estimators.judging import judge
from statformer.estimators.mixture import AttentionMixture
from statformer.estimators.neighbors import (
    AttentionNeighborsClassifier,
    AttentionNeighborsRegressor,
)
from statformer.estimators.regression import AttentionRegressor
from statformer.estimators.spectral import AttentionSpectralClustering
from statformer.estimators.tables import cluster_tables

__all__ = [
    "AttentionBayesNet",
    "AttentionMixture",
    "AttentionNeighborsClassifier",
    "AttentionNeighborsRegressor",
    "AttentionPCA",
    "AttentionRegressor",
    "AttentionSpectralClustering",
    "EmptyClusterWarning",
    "ImpossibleEvidenceWarning",
    "MissingValuesWarning",
    "OutOfDepthError",
    "OutOfDepthWarning",
    "UnseenConfigurationWarning",
    "cluster_tables",
    "judge",
    "load",
]
