import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from okml.add.images import base, load_images
from okml.add.images.digits import NAMES
from okml.add.images.prompts import caption_vectors
from okml.errors import ParameterError


def test_digits_are_scikit_learns_in_minus_one_to_one():
    found = load_images("digits", 8)
    raw = load_digits()
    everything = torch.cat([found.train.pixels, found.test.pixels])
    assert everything.shape == (1797, 1, 8, 8)
    assert float(everything.min()) == -1
    assert float(everything.max()) == 1
    # The same multiset of images, whatever the order.
    ours = np.sort(((everything[:, 0].numpy() + 1) * 8).round().sum((1, 2)))
    np.testing.assert_allclose(ours, np.sort(raw.images.sum((1, 2))))
    label = int(found.train.labels[5])
    assert found.train.captions[5] == NAMES[label]


def test_train_and_test_share_no_image_and_every_class_is_split_alike():
    found = load_images("digits", 8)
    train = {tuple(row.tolist()) for row in found.train.pixels.flatten(1)}
    test = {tuple(row.tolist()) for row in found.test.pixels.flatten(1)}
    assert not train & test
    for label in range(10):
        size = int((found.train.labels == label).sum()) + int((found.test.labels == label).sum())
        assert int((found.test.labels == label).sum()) == round(0.2 * size)


def test_shrinking_averages_areas_and_refuses_to_enlarge():
    pixels = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = torch.tensor([[2.5, 4.5], [10.5, 12.5]])
    torch.testing.assert_close(base.shrink(pixels, 2)[0, 0], expected)
    with pytest.raises(ParameterError, match="4 pixels a side; 8"):
        base.shrink(pixels, 8)


def test_captions_become_vectors_of_one_size_that_share_what_their_words_share():
    one, other, both, same, empty = caption_vectors(
        ["red apple", "green leaf", "apple leaf", "Red  apple!", ""], 256
    )
    assert float(one.norm()) == pytest.approx(16, rel=1e-5)
    torch.testing.assert_close(one, same)
    assert float(empty.norm()) == 0
    cosine = torch.nn.functional.cosine_similarity
    assert float(cosine(one, both, 0)) == pytest.approx(0.5, abs=0.2)
    assert abs(float(cosine(one, other, 0))) < 0.25


def test_caption_vectors_are_the_same_in_every_process():
    # Written down once: a vector that changed would silently change all conditions.
    np.testing.assert_allclose(caption_vectors(["zero"], 4)[0].numpy(), FIRST_OF_ZERO, rtol=1e-5)


FIRST_OF_ZERO = np.random.default_rng(
    int.from_bytes(__import__("hashlib").blake2b(b"zero", digest_size=8).digest(), "big")
).standard_normal(4)
FIRST_OF_ZERO = 2 * FIRST_OF_ZERO / np.linalg.norm(FIRST_OF_ZERO)


@pytest.mark.realdata
def test_fashion_has_its_published_counts():
    found = load_images("fashion", 16)
    assert found.train.pixels.shape == (60_000, 1, 16, 16)
    assert found.test.labels.bincount().tolist() == [1000] * 10
    # The mean byte of the published training images is 72.94 (28 of 32 pixels a side hold it).
    mean = (float(found.train.pixels.mean()) + 1) * 127.5 * 32**2 / 28**2
    assert mean == pytest.approx(72.94, abs=0.02)
    assert found.train.captions[0] == "ankle boot"
    assert "Zalando" in found.notice


@pytest.mark.realdata
def test_emoji_are_captioned_pictures_on_white():
    found = load_images("emoji", 16)
    assert found.channels == 3
    assert len(found.train) + len(found.test) == 1636
    captions = (*found.train.captions, *found.test.captions)
    row = captions.index("strawberry")
    pictures = torch.cat([found.train.pixels, found.test.pixels])
    red, green, blue = pictures[row, :, 6:10, 6:10].mean((1, 2))
    assert red > green
    assert red > blue
    torch.testing.assert_close(pictures[row, :, 0, 0], torch.ones(3))
