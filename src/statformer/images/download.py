"""Fetch a file whose size and SHA-256 are known."""

from __future__ import annotations

import hashlib
import http.client
import sys
from urllib.request import Request, urlopen

from statformer.images.originals import Original

TIMEOUT = 60.0  # seconds without an answer
_CHUNK = 2**20


class DownloadError(OSError):
    """A file could not be fetched, or is not the one that was expected."""


def fetch(original: Original) -> bytes:
    """The content of a file, from the first of its addresses that gives the right one.

    The length is compared before anything is read where the server tells it, never more than
    expected is read, and the SHA-256 is compared at the end. Progress goes to standard error.

    Raises DownloadError, which says for each address why it did not do.
    """
    reasons = []
    for url in original.urls:
        try:
            return _fetch(url, original)
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {str(error) or type(error).__name__}")
    raise DownloadError("; ".join(reasons))


def _fetch(url: str, original: Original) -> bytes:
    digest, content = hashlib.sha256(), bytearray()
    # the addresses are constants of this package
    request = Request(url, headers={"User-Agent": "statformer"})  # noqa: S310
    with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        told = answer.headers.get("Content-Length")
        if told is not None and told != str(original.n_bytes):
            raise DownloadError(f"{told} bytes there, {original.n_bytes} expected")
        while chunk := answer.read(min(_CHUNK, original.n_bytes + 1 - len(content))):
            digest.update(chunk)
            content += chunk
            _progress(url, len(content), original.n_bytes)
    if len(content) != original.n_bytes:
        raise DownloadError(f"{len(content)} bytes came, {original.n_bytes} expected")
    if digest.hexdigest() != original.sha256:
        raise DownloadError(
            f"its SHA-256 is {digest.hexdigest()}, expected {original.sha256}; "
            "it is not the original file"
        )
    return bytes(content)


def _progress(url: str, n_read: int, n_bytes: int) -> None:
    """One line that is written over at a terminal, else a line at the end."""
    done = n_read >= n_bytes
    if sys.stderr.isatty() or done:
        line = f"{url}: {n_read / 2**20:.1f} of {n_bytes / 2**20:.1f} MiB"
        start = "\r" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{start}{line}" + ("\n" if done else ""))
        sys.stderr.flush()
