import gzip

import numpy as np
import pytest

from okml.data.images import read_cifar, read_idx
from okml.errors import DataError
from tests.tools.image_files import cifar, idx, tar_of


def test_idx_files_are_read_and_damaged_ones_named(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "a.gz"
    path.write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(path), array)
    with pytest.raises(DataError, match="publisher released"):
        read_idx(path, "0" * 64)
    path.write_bytes(idx(array)[:-9])
    with pytest.raises(DataError, match="no complete gzip"):
        read_idx(path)
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc"))
    with pytest.raises(DataError, match="announces 5 bytes and holds 3"):
        read_idx(path)
    path.write_bytes(gzip.compress(b"\x01\0\x08\x01\0\0\0\x05abcde"))
    with pytest.raises(DataError, match="no IDX"):
        read_idx(path)


@pytest.mark.parametrize(("name", "label"), [("cifar10", 0), ("cifar100", 1)])
def test_cifar_is_read_record_by_record(tmp_path, name, label):
    path = tmp_path / "a.tar.gz"
    content, rows = cifar(name)
    path.write_bytes(content)
    images, labels = read_cifar(path, name)
    np.testing.assert_array_equal(labels, rows[:, label])
    np.testing.assert_array_equal(images.reshape(len(rows), -1), rows[:, label + 1 :])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cifar("cifar10")[0][:-4000], "is no complete archive"),
        (b"<html></html>", "is no complete archive"),
        (cifar("cifar10")[0], "lacks a file: .*train.bin"),
        (tar_of({"cifar-100-binary/train.bin": bytes(3075)}), "no multiple of 3074 an image"),
    ],
)
def test_a_damaged_archive_is_named(tmp_path, content, message):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_cifar(path, "cifar100")
