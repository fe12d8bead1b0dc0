"""Augmentation: what it does to images, and that gradients pass."""

from __future__ import annotations

import pytest
import torch

from okml.add.augment import augment
from okml.add.settings import AugmentSettings

OFF = AugmentSettings(brightness=0, saturation=0, contrast=0, translation=0, cutout=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def changed(**values: float) -> AugmentSettings:
    return OFF.model_copy(update=values)


def test_off_is_the_identity() -> None:
    images = torch.randn(3, 3, 6, 6)
    assert torch.equal(augment(images, OFF, generator()), images)


def test_brightness_adds_one_number_to_each_example() -> None:
    images = torch.randn(50, 3, 4, 4)
    added = augment(images, changed(brightness=0.5), generator()) - images
    assert added.flatten(1).std(1).max() < 1e-6
    assert 0.4 < added.abs().max() <= 0.5
    assert added.mean().abs() < 0.15


def test_saturation_keeps_grey_and_contrast_keeps_the_mean() -> None:
    images = torch.randn(200, 3, 4, 4)
    found = augment(images, changed(saturation=1), generator())
    torch.testing.assert_close(found.mean(1), images.mean(1), atol=1e-5, rtol=1e-5)
    found = augment(images, changed(contrast=0.5), generator())
    torch.testing.assert_close(found.mean((1, 2, 3)), images.mean((1, 2, 3)))
    factor = (found - found.mean((1, 2, 3), keepdim=True)).flatten(1).norm(dim=1)
    factor /= (images - images.mean((1, 2, 3), keepdim=True)).flatten(1).norm(dim=1)
    assert 0.5 <= factor.min() < 0.7
    assert 1.3 < factor.max() <= 1.5


def test_translation_moves_whole_images_over_zeros() -> None:
    image = torch.arange(1.0, 65).reshape(1, 1, 8, 8)
    images = image.expand(200, -1, -1, -1)
    found = augment(images, changed(translation=0.25), generator())
    # Every result is one of the 25 shifts of the image by up to two pixels.
    framed = torch.nn.functional.pad(image, (2, 2, 2, 2))
    shifts = {(y, x): framed[0, 0, y : y + 8, x : x + 8] for y in range(5) for x in range(5)}
    seen = {
        key for each in found for key, shifted in shifts.items() if torch.equal(each[0], shifted)
    }
    assert len(seen) == 25
    assert all(any(torch.equal(each[0], s) for s in shifts.values()) for each in found)


def test_cutout_blanks_one_square() -> None:
    images = torch.ones(100, 2, 10, 10)
    found = augment(images, changed(cutout=0.2), generator())
    zeros = (found[:, 0] == 0).float()
    assert torch.equal(found[:, 0], found[:, 1])
    assert zeros.sum((1, 2)).max() == 4  # 2 by 2; less at the border
    assert set(zeros.sum((1, 2)).int().tolist()) <= {0, 1, 2, 4}


def test_draws_differ_between_examples_and_repeat_with_the_seed() -> None:
    images = torch.ones(4, 3, 8, 8)
    one = augment(images, AugmentSettings(), generator(1))
    assert torch.equal(one, augment(images, AugmentSettings(), generator(1)))
    assert not torch.equal(one, augment(images, AugmentSettings(), generator(2)))
    assert not torch.equal(one[0], one[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_pass(channels: int) -> None:
    images = torch.randn(2, channels, 5, 5, dtype=torch.double, requires_grad=True)
    settings = AugmentSettings()
    assert torch.autograd.gradcheck(lambda x: augment(x, settings, generator(3)), images)
