"""One file, one comparison with the peers: what `statformer bench` runs."""

from __future__ import annotations
