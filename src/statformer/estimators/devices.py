"""Where a network runs: numpy by default, the same source on torch tensors where asked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from statformer._extras import require
from statformer.batch import Array, Centres, Readout, Tables

Record = TypeVar("Record", Tables, Centres, Readout)


@dataclass(frozen=True)
class Backend:
    """Moves arrays to where the network runs, and back to numpy.

    torch is None for numpy; otherwise the torch module, and device its device.
    """

    torch: Any = None
    device: Any = None

    def put(self, array: Any) -> Array:
        """A numpy array on the device; floats as float64 (float32 where it has no float64)."""
        if self.torch is None:
            return array
        array = np.ascontiguousarray(array)
        # torch does not know read-only memory, which loaded weights are
        tensor = self.torch.as_tensor(array if array.flags.writeable else array.copy())
        if tensor.dtype == self.torch.float64 and self.device.type == "mps":
            tensor = tensor.to(self.torch.float32)
        return tensor.to(self.device)

    def put_record(self, record: Record) -> Record:
        """The same record with every array on the device."""
        if self.torch is None:
            return record
        moved = {f.name: getattr(record, f.name) for f in fields(record)}
        return replace(record, **{k: None if v is None else self.put(v) for k, v in moved.items()})

    def put_all(self, weights: Mapping[str, Any]) -> dict[str, Array]:
        """Every array of a mapping on the device."""
        return {name: self.put(value) for name, value in weights.items()}

    def get(self, array: Array) -> Any:
        """A numpy array."""
        if self.torch is None:
            return array
        found = array.detach().cpu().numpy()
        return found.astype(np.float64) if found.dtype == np.float32 else found

    def get_record(self, record: Record) -> Record:
        """The same record in numpy."""
        if self.torch is None:
            return record
        moved = {f.name: getattr(record, f.name) for f in fields(record)}
        return replace(record, **{k: None if v is None else self.get(v) for k, v in moved.items()})

    def inference(self) -> AbstractContextManager[Any]:
        """No gradients are kept inside."""
        context: AbstractContextManager[Any] = (
            nullcontext() if self.torch is None else self.torch.no_grad()
        )
        return context


def backend(device: Any) -> Backend:
    """None, "cpu" and "numpy" are numpy; any other string, or a torch.device, runs on torch.

    Raises MissingExtraError without torch, ValueError for a device that torch does not know.
    """
    if device is None or (isinstance(device, str) and device in {"cpu", "numpy"}):
        return Backend()
    torch = require("torch", "torch")
    try:
        found = torch.device("cpu" if device == "torch" else device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={device!r} is not available to torch here ({reason}); use device=None"
        ) from None
    return Backend(torch, found)
