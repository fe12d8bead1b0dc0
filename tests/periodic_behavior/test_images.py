import numpy as np
import pytest
import torch

from okml.errors import DataError
from okml.periodic_behavior.images import load
from okml.periodic_behavior.settings import ProblemSettings
from tests.periodic_behavior.tiny import put_fashion, put_images
from tests.tools.image_files import cifar
from tests.tools.own_data import OwnData

SETTINGS = {"side": 32, "channels": 1, "epochs": 1, "batch": 5}


@pytest.fixture
def own_data(tmp_path, monkeypatch):
    return OwnData(tmp_path, monkeypatch)


@pytest.mark.parametrize(("name", "label"), [("cifar10", 0), ("cifar100", 1)])
def test_cifar_is_read_record_by_record(own_data, name, label):
    put_images(own_data)
    images = load(ProblemSettings(images=name, examples=15, **SETTINGS))
    _, rows = cifar(name)
    assert images.labels.tolist() == rows[:15, label].tolist()
    raw = torch.from_numpy(rows[:15, label + 1 :].reshape(15, 3, 32, 32).astype(np.float32))
    for channel in range(3):
        own = raw[:, channel]
        expected = (own - own.mean()) / own.std()
        torch.testing.assert_close(images.pixels[:, channel], expected, atol=1e-5, rtol=1e-5)
    assert [*images.used] == [f"{name}/{name[:5]}-{name[5:]}-binary.tar.gz"]


def test_clothes_get_a_frame_and_are_averaged_over_squares(own_data):
    pixels, labels = put_fashion(own_data, 12)
    problem = ProblemSettings(images="fashion_mnist", examples=10, **{**SETTINGS, "side": 8})
    images = load(problem)
    framed = np.pad(pixels[:10].astype(float), ((0, 0), (2, 2), (2, 2)))
    small = framed.reshape(10, 8, 4, 8, 4).mean((2, 4))
    expected = (small - small.mean()) / small.std(ddof=1)
    np.testing.assert_allclose(images.pixels[:, 0], expected, atol=1e-5)
    assert images.labels.tolist() == labels[:10].tolist()


def test_too_few_images_are_named(own_data):
    put_fashion(own_data, 8)
    problem = ProblemSettings(images="fashion_mnist", examples=10, **SETTINGS)
    with pytest.raises(DataError, match="holds 8 training images, not 10"):
        load(problem)
