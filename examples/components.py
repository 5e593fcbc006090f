"""Principal components of a table with spoilt rows: python examples/components.py [constructed]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from statformer import AttentionPCA

table = pd.read_csv(Path(__file__).parent / "data" / "wheat_seeds.csv").drop(columns="label")
X = StandardScaler().fit_transform(table)
clean = PCA(2).fit(X)

spoilt = X.copy()
rng = np.random.default_rng(0)
spoilt[:20] = 4.0 * rng.normal(size=X.shape[1]) + rng.normal(size=(20, X.shape[1]))

weights = "".join(sys.argv[1:]) or "pretrained"
for model in (PCA(2), AttentionPCA(2, weights=weights)):
    found = model.fit(spoilt).components_
    nearest = np.linalg.svd(found @ clean.components_.T)[1].min()
    angle = np.degrees(np.arccos(min(nearest, 1.0)))
    print(f"{type(model).__name__}: {angle:.1f} degrees from the plane of the clean table")
print(f"weights of the spoilt rows: {model.row_weights_[:20].mean():.2f} on average")
print(f"weights of the others: {model.row_weights_[20:].mean():.2f}")
