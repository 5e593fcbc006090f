"""AdaGrad++ and Adam++: optimizers that find their own learning rate; drop-in for torch.optim."""

from __future__ import annotations

__all__: list[str] = []
