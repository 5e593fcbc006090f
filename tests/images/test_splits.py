"""Originals are fetched once, checked, and read from the cache ever after."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from statformer.images import image_splits, npz, originals, splits
from statformer.images.download import DownloadError, fetch
from statformer.images.originals import Original, Source, parse_cifar10, parse_idx, parse_mnist

RNG = np.random.default_rng(1)
MNIST = {
    "train_images": RNG.integers(0, 256, (9, 28, 28), dtype=np.uint8),
    "train_labels": np.arange(9, dtype=np.uint8),
    "test_images": RNG.integers(0, 256, (4, 28, 28), dtype=np.uint8),
    "test_labels": np.arange(4, dtype=np.uint8),
}


def idx(array: np.ndarray) -> bytes:
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(bytes((0, 0, 8, array.ndim)) + lengths + array.tobytes())


def cifar(members: Mapping[str, bytes | None] | None = None) -> bytes:
    """An archive like CIFAR-10's, 2 records a batch; `members` replace some, None drops one."""
    n = 2
    batches = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    contents: dict[str, bytes | None] = {}
    for k, batch in enumerate(batches):
        pixels = np.arange(n * 3072).reshape(n, 3072) % 251 + k
        records = np.concatenate([np.full((n, 1), k % 5), pixels], axis=1).astype(np.uint8)
        contents[batch] = records.tobytes()
    contents |= members or {}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in contents.items():
            if content is not None:
                path = name if "/" in name else f"cifar-10-batches-bin/{name}.bin"
                member = tarfile.TarInfo(path)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; counts requests; tells no length for names that begin with "untold"."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        super().do_GET()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Content-Length" or not self.path.startswith("/untold"):
            super().send_header(keyword, value)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, its address, and the requests that came."""
    folder = tmp_path / "served"
    folder.mkdir()
    requests: list[str] = []
    handler = type("Handler", (QuietHandler,), {"requests": requests})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/", requests
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("STATFORMER_IMAGES", raising=False)


def original(content: bytes, *urls: str) -> Original:
    return Original(urls, len(content), hashlib.sha256(content).hexdigest())


def test_the_originals_are_fetched_once(
    served: tuple[Path, str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, address, requests = served
    files = {}
    for name, array in MNIST.items():
        (folder / name).write_bytes(idx(array))
        # the first address has nothing, the second the file
        files[name] = original(idx(array), f"{address}gone/{name}", f"{address}{name}")
    monkeypatch.setitem(originals.SOURCES, "mnist", Source(files, parse_mnist))
    images = image_splits("mnist")
    assert len(requests) == 8
    for name, array in MNIST.items():
        np.testing.assert_array_equal(getattr(images, name), array)
    assert [p.name for p in (tmp_path / "cache/statformer/images").iterdir()] == ["mnist.npz"]
    image_splits("mnist")
    assert len(requests) == 8


def test_cifar_records_become_images_of_three_colours(
    served: tuple[Path, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address, _ = served
    (folder / "archive").write_bytes(cifar())
    file = original(cifar(), f"{address}archive")
    monkeypatch.setitem(originals.SOURCES, "cifar10", Source({"archive": file}, parse_cifar10))
    images = image_splits("cifar10")
    assert images.train_images.shape == (10, 32, 32, 3)
    np.testing.assert_array_equal(images.train_labels, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    np.testing.assert_array_equal(images.test_labels, [0, 0])
    # image 1, row 2, column 3, colour 1 of batch 4: byte 3072 + 1024 + 2 * 32 + 3 of its records
    assert images.train_images[7, 2, 3, 1] == (3072 + 1024 + 2 * 32 + 3) % 251 + 3


def test_a_folder_of_yours_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATFORMER_IMAGES", str(tmp_path / "mine"))
    with pytest.raises(ValueError, match=r"STATFORMER_IMAGES=.*mine: no such folder"):
        image_splits("mnist")
    (tmp_path / "mine").mkdir()
    np.savez(tmp_path / "mine/mnist.npz", allow_pickle=False, **MNIST)
    cache = tmp_path / "cache/statformer/images"
    cache.mkdir(parents=True)
    turned = {**MNIST, "train_labels": MNIST["train_labels"][::-1]}
    np.savez(cache / "mnist.npz", allow_pickle=False, **turned)
    np.testing.assert_array_equal(image_splits("mnist").train_labels, MNIST["train_labels"])
    monkeypatch.delenv("STATFORMER_IMAGES")
    np.testing.assert_array_equal(image_splits("mnist").train_labels, MNIST["train_labels"][::-1])
    np.savez(cache / "cifar10.npz", allow_pickle=False, **MNIST)
    with pytest.raises(ValueError, match=r"cifar10 has \(32, 32, 3\)"):
        image_splits("cifar10")
    with pytest.raises(ValueError, match="name='svhn': pass one of 'mnist', 'cifar10'"):
        image_splits("svhn")


def test_without_a_connection_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = Original((f"file://{tmp_path}/absent.gz",), 3, "0" * 64)
    monkeypatch.setitem(originals.SOURCES, "mnist", Source({"train_images": file}, parse_mnist))
    with pytest.raises(DownloadError, match=r"put mnist\.npz into a folder and set STATFORMER"):
        image_splits("mnist")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["told", "untold"])
def test_a_wrong_file_is_not_taken(served: tuple[Path, str, list[str]], name: str) -> None:
    folder, address, _ = served
    content = b"0123456789"
    expected = original(content, f"{address}{name}")

    def refusal(there: bytes) -> str:
        (folder / name).write_bytes(there)
        with pytest.raises(DownloadError) as caught:
            fetch(expected)
        return str(caught.value)

    assert "its SHA-256 is" in refusal(b"0123456780")
    cut, long = refusal(content[:-1]), refusal(content * 1000)
    if name == "told":
        assert "9 bytes there, 10 expected" in cut
        assert "10000 bytes there, 10 expected" in long
    else:  # never more than one byte too many is read
        assert "9 bytes came, 10 expected" in cut
        assert "11 bytes came, 10 expected" in long
    (folder / name).write_bytes(content)
    assert fetch(expected) == content


def test_only_plain_members_of_the_right_name_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parse_cifar10({"archive": cifar({"../evil.bin": b"x", "/etc/evil": b"y"})})
    assert not list(tmp_path.parent.glob("evil*"))
    assert not list(tmp_path.rglob("*evil*"))
    for archive in (cifar({"test_batch": None}), cifar()[:-200], b"not an archive"):
        with pytest.raises(ValueError, match="not the archive of CIFAR-10"):
            parse_cifar10({"archive": archive})
    with pytest.raises(ValueError, match="not a plain file of records of 3073"):
        parse_cifar10({"archive": cifar({"test_batch": b"short"})})
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as links:
        for i in range(1, 6):
            link = tarfile.TarInfo(f"cifar-10-batches-bin/data_batch_{i}.bin")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            links.addfile(link)
    with pytest.raises(ValueError, match="not a plain file"):
        parse_cifar10({"archive": file.getvalue()})


def test_idx_files_are_what_their_header_says(monkeypatch: pytest.MonkeyPatch) -> None:
    array = MNIST["test_images"]
    np.testing.assert_array_equal(parse_idx(idx(array), 3), array)
    for content, match in (
        (b"plain", "not a gzip file"),
        (idx(array)[:-20], "not a gzip file"),
        (idx(array[0]), "not an IDX file of bytes with 3 axes"),
        (gzip.compress(gzip.decompress(idx(array))[:-1]), r"promises \[4, 28, 28\] bytes"),
    ):
        with pytest.raises(ValueError, match=match):
            parse_idx(content, 3)
    monkeypatch.setattr(npz, "MAX_BYTES", 100)  # what unpacks to more is not unpacked
    with pytest.raises(ValueError, match="where there are 85"):
        parse_idx(idx(np.zeros((2**12, 28, 28), np.uint8)), 3)


def test_the_cache_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert splits.cache_folder().parts[-3:] == ("cache", "statformer", "images")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert splits.cache_folder() == Path.home() / ".cache/statformer/images"
