"""AdaGrad++ and Adam++: optimizers that find their own learning rate; drop-in for torch.optim."""

from __future__ import annotations

from statformer.optim.adagrad_pp import AdaGradPP
from statformer.optim.adam_pp import AdamPP

__all__ = ["AdaGradPP", "AdamPP"]
