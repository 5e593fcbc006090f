"""Records that every layer passes on: tables, centre tokens, traces, batches of tasks.

Axes: b tables, n points, d features, c components, q columns of categories. Arrays are numpy
arrays or torch tensors; nothing here asks which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Array = Any  # numpy.ndarray or torch.Tensor: the networks are written against the array API


@dataclass(frozen=True)
class Tables:
    """b tables side by side, padded with zeros to n points and d features.

    X          "b n d"  values, standardised by the caller
    weight     "b n"    weight of each row, >= 0; 0 is a padded or absent row
    is_feature "b d"    True for real columns; None when no column is padding
    observed   "b n d"  False where the cell is missing (X is then 0); None when none is
    onehot     "b n q"  categorical columns side by side, one 0/1 column per category; a missing
                        category is zeros, and so is padding; None without categorical columns
    same_block "b q q"  1 where two categories belong to one categorical column, else 0
    """

    X: Array
    weight: Array
    is_feature: Array | None = None
    observed: Array | None = None
    onehot: Array | None = None
    same_block: Array | None = None


@dataclass(frozen=True)
class Centres:
    """Centre tokens: a Gaussian mixture per table.

    weights      "b c"      pi, sums to 1 over the components that are there
    means        "b c d"    mu
    covariances  "b c d d"  Sigma, symmetric positive definite
    is_component "b c"      False where a centre token is padding (weight 0, mean 0, covariance I)
    categories   "b c q"    theta, probability of each category; None without categorical columns
    """

    weights: Array
    means: Array
    covariances: Array
    is_component: Array
    categories: Array | None = None

    def __getitem__(self, index: Any) -> Centres:
        """The centre tokens of some tables."""
        return Centres(
            self.weights[index],
            self.means[index],
            self.covariances[index],
            self.is_component[index],
            None if self.categories is None else self.categories[index],
        )


@dataclass(frozen=True)
class Readout:
    """What an E layer needs beside the centres.

    score_ik = temperature * [(1 - rho_k) Gaussian_ik + rho_k Student_ik(nu_k) + strength log pi_k]

    temperature "b", strength "b", rho "b c", nu "b c".
    """

    temperature: Array
    strength: Array
    rho: Array
    nu: Array

    def __getitem__(self, index: Any) -> Readout:
        """The read-out of some tables."""
        return Readout(
            self.temperature[index], self.strength[index], self.rho[index], self.nu[index]
        )


@dataclass(frozen=True)
class Trace:
    """What a network did, layer by layer; entry -1 is the answer.

    responsibilities  list of "b n c"; rows of weight 0 hold the responsibilities they would get
    centres           list of Centres
    readouts          list of Readout (empty for networks without learned read-outs)
    """

    responsibilities: list[Array] = field(default_factory=list)
    centres: list[Centres] = field(default_factory=list)
    readouts: list[Readout] = field(default_factory=list)


@dataclass(frozen=True)
class TaskBatch:
    """A batch of clustering tasks with the truth attached.

    X            "b n d"  values as drawn (columns not standardised), zero where padded
    y            "b n"    component of each point; -1 for a point of no component (noise, padding)
    n_components "b"      number of components with at least one point
    is_point     "b n"    False for padding
    is_feature   "b d"    False for padding
    latent       what else is known: "posterior" "b n c" (Bayes-optimal), "weights", "means", ...
    """

    X: Array
    y: Array
    n_components: Array
    is_point: Array
    is_feature: Array
    latent: dict[str, Any] = field(default_factory=dict)
