"""Cluster a table: python examples/quickstart.py [constructed]."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from statformer import AttentionMixture

table = pd.read_csv(Path(__file__).parent / "data" / "wheat_seeds.csv")
X = table.drop(columns="label")

model = AttentionMixture(weights="".join(sys.argv[1:]) or "pretrained", random_state=0).fit(X)

print(f"{model.n_components_} clusters, P(K) = {model.n_components_proba_.round(2).tolist()}")
print(pd.DataFrame(model.means_, columns=X.columns).round(2))
print(pd.crosstab(table["label"], model.labels_, colnames=["cluster"]))
