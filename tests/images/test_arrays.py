"""Files of images are read as they are; hostile and damaged ones are refused before memory goes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from statformer._extras import MissingExtraError
from statformer.images import jpeg, npz, read_images
from statformer.images.arrays import LOSSY

Arrays = dict[str, np.ndarray]


@pytest.fixture
def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for part, n in (("train", 12), ("test", 7)):
        made[f"{part}_images"] = rng.integers(0, 256, (n, 8, 6, 3), dtype=np.uint8)
        made[f"{part}_labels"] = rng.permutation(np.arange(n) % 3).astype(np.uint8)
    return made


def jpeg_arrays(arrays: Arrays) -> Arrays:
    image = pytest.importorskip("PIL.Image")
    made: Arrays = {}
    for part in ("train", "test"):
        pieces = []
        for pixels in arrays[f"{part}_images"]:
            smooth = np.full_like(pixels, pixels.mean(dtype=int))  # JPEG keeps flat pictures
            with io.BytesIO() as file:
                image.fromarray(smooth).save(file, "JPEG", quality=95)
                pieces.append(file.getvalue())
        offsets = np.cumsum([0, *map(len, pieces)])
        made[f"{part}_bytes"] = np.frombuffer(b"".join(pieces), np.uint8)
        made[f"{part}_offsets"] = offsets.astype(np.int64)
        made[f"{part}_labels"] = arrays[f"{part}_labels"]
    return made


def saved(path: Path, arrays: Arrays) -> Path:
    np.savez(path, allow_pickle=True, **arrays)
    return path


def test_plain_files_are_read_as_they_are(tmp_path: Path, arrays: Arrays) -> None:
    images = read_images(saved(tmp_path / "plain.npz", arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(images, name), array)
    assert images.note == ""
    assert images.n_classes == 3
    note = np.array("copies of copies")
    assert read_images(saved(tmp_path / "noted.npz", {**arrays, "note": note})).note == str(note)


def test_jpeg_copies_are_decoded_and_say_so(tmp_path: Path, arrays: Arrays) -> None:
    images = read_images(saved(tmp_path / "jpeg.npz", jpeg_arrays(arrays)))
    assert images.note == LOSSY
    for part in ("train", "test"):
        found, given = getattr(images, f"{part}_images"), arrays[f"{part}_images"]
        assert found.shape == given.shape
        assert found.dtype == np.uint8
        means = given.mean((1, 2, 3)).astype(int)  # in this order, so that none is swapped
        assert np.abs(found.mean((1, 2, 3)) - means).max() <= 2
        np.testing.assert_array_equal(getattr(images, f"{part}_labels"), arrays[f"{part}_labels"])


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("train_offsets", lambda a: a[::-1].copy(), "must rise from 0"),
        ("train_offsets", lambda a: a + 1, "must rise from 0"),
        ("train_offsets", lambda a: a[:-1], "one label per image, and one offset more"),
        ("train_offsets", lambda a: a.astype(np.int32), "its type is int32, expected int64"),
        ("test_bytes", lambda a: np.roll(a, 3), "are no JPEG"),
        ("test_labels", lambda a: a + np.uint8(9), r"test_labels has 11, train_labels end at 2"),
    ],
)
def test_damaged_jpeg_files_are_refused(
    tmp_path: Path, arrays: Arrays, name: str, change: object, match: str
) -> None:
    made = jpeg_arrays(arrays)
    made[name] = change(made[name])  # type: ignore[operator]
    with pytest.raises(ValueError, match=match):
        read_images(saved(tmp_path / "bad.npz", made))


def test_large_pictures_are_refused_before_they_are_decoded(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "large.npz", jpeg_arrays(arrays))
    size = max(a.nbytes for a in jpeg_arrays(arrays).values())
    monkeypatch.setattr(npz, "MAX_BYTES", size)  # the files fit
    monkeypatch.setattr(jpeg, "_open", lambda *_: type("Picture", (), {"size": (4000, 4000)}))
    with pytest.raises(ValueError, match="12 images of 4000 x 4000 are more than"):
        read_images(path)


@pytest.mark.parametrize("side", [65_535, 9_700])  # Pillow raises at the one, warns at the other
def test_a_header_of_a_huge_picture_is_refused(tmp_path: Path, arrays: Arrays, side: int) -> None:
    made = jpeg_arrays(arrays)
    content = bytearray(made["train_bytes"].tobytes())
    size_at = content.index(b"\xff\xc0") + 5  # of the first picture: rows, columns
    content[size_at : size_at + 4] = 2 * side.to_bytes(2, "big")
    made["train_bytes"] = np.frombuffer(bytes(content), np.uint8)
    with pytest.raises(
        ValueError, match=r"train_bytes cannot be decoded .*(are no JPEG|more than)"
    ):
        read_images(saved(tmp_path / "bomb.npz", made))


def test_a_missing_pillow_names_the_extra(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "jpeg.npz", jpeg_arrays(arrays))

    def missing(module: str, extra: str) -> None:
        raise MissingExtraError(f"{module} from {extra}")

    monkeypatch.setattr(jpeg, "require", missing)
    with pytest.raises(MissingExtraError, match=r"PIL\.Image from robust"):
        read_images(path)


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("train_images", np.zeros((12, 8, 6, 3)), "its type is float64, expected uint8"),
        ("test_images", np.array([{"a": 1}], dtype=object), "its type is object"),
        ("test_labels", np.zeros(3, np.uint8), "one label per image"),
        ("test_images", np.zeros((7, 8, 5, 3), np.uint8), "of one size"),
        ("note", np.array(["a", "b"]), "note must be one string"),
        ("note", np.array("\x1b[2J"), "note must be one string"),
        ("note", np.array(3), "its type is int64, expected text"),
    ],
)
def test_arrays_of_another_form_are_refused(
    tmp_path: Path, arrays: Arrays, name: str, array: np.ndarray, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        read_images(saved(tmp_path / "other.npz", {**arrays, name: array}))


def test_promises_are_compared_before_memory_is_taken(tmp_path: Path, arrays: Arrays) -> None:
    path = saved(tmp_path / "good.npz", arrays)
    header = io.BytesIO()
    shape = (2**20, 2**20, 2**10)
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "huge.npz", "w") as huge:
        for name in whole.namelist():
            content = header.getvalue() + b"1234" if "train_images" in name else whole.read(name)
            huge.writestr(name, content)
    with pytest.raises(ValueError, match=rf"header promises {2**50} bytes where there are 4"):
        read_images(tmp_path / "huge.npz")


def test_files_that_are_absent_cut_or_foreign_are_refused(tmp_path: Path, arrays: Arrays) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_images(tmp_path / "absent.npz")
    content = saved(tmp_path / "good.npz", arrays).read_bytes()
    for name, damaged in (("text", b"not a zip"), ("cut", content[: len(content) // 2])):
        (tmp_path / f"{name}.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"not an \.npz file"):
            read_images(tmp_path / f"{name}.npz")
    np.savez_compressed(tmp_path / "packed.npz", allow_pickle=False, **arrays)
    with zipfile.ZipFile(tmp_path / "packed.npz") as packed:
        start = packed.getinfo("train_images.npy").header_offset + 200
    packed_bytes = (tmp_path / "packed.npz").read_bytes()
    (tmp_path / "packed.npz").write_bytes(
        packed_bytes[:start] + bytes(50) + packed_bytes[start + 50 :]
    )
    with pytest.raises(ValueError, match="train_images cannot be read"):
        read_images(tmp_path / "packed.npz")
    with pytest.raises(ValueError, match="train_images cannot be read"):
        read_images(saved(tmp_path / "empty.npz", {}))


@pytest.mark.parametrize(
    ("after", "new", "match"),
    [
        (b"PK\x01\x02??", 255, r"not an \.npz file \(zip file version"),
        (b"'shape': (", ord("("), "train_images cannot be read"),
    ],
    ids=["zip version", "header"],
)
def test_a_single_wrong_byte_is_met(
    tmp_path: Path, arrays: Arrays, after: bytes, new: int, match: str
) -> None:
    path = saved(tmp_path / "flipped.npz", arrays)
    content = bytearray(path.read_bytes())
    content[content.index(after.rstrip(b"?")) + len(after)] = new
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=match):
        read_images(path)
