import pytest
import torch
from sklearn.datasets import load_sample_images

from okml.add.images import load_images
from okml.add.images.prompts import caption_vectors
from okml.add.schedule import NoiseSchedule
from okml.add.small import efficientnet
from okml.add.small.classifier import MetricNetwork
from okml.add.small.pretraining import (
    SupervisedSettings,
    TeacherSettings,
    train_classifier,
    train_teacher,
    velocity,
)
from okml.add.small.unet import CONDITION, prompt_width, small_scheduler, small_unet
from okml.add.small.vit import SmallVit, VitEmbedding, VitSettings
from okml.add.workbench import Workbench
from okml.errors import DataError
from tests.add.chapter.tiny import tiny


@pytest.fixture(scope="module")
def schedule():
    return NoiseSchedule.from_scheduler(small_scheduler())


def test_the_schedule_ends_without_signal(schedule):
    last = torch.tensor([999])
    assert float(schedule.alpha(last)) == 0
    assert float(schedule.sigma(last)) == 1


def test_velocity_agrees_with_diffusers(schedule):
    draws = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 1, 8, 8, generator=draws) for _ in range(2))
    timestep = torch.tensor([0, 10, 500, 999])
    expected = small_scheduler().get_velocity(clean, noise, timestep)
    torch.testing.assert_close(velocity(schedule, clean, noise, timestep), expected)


def test_the_network_listens_to_the_prompt_and_to_the_time():
    torch.manual_seed(0)
    network = small_unet(8, 1, (8, 16)).eval()
    noisy = torch.randn(2, 1, 8, 8)
    told = {CONDITION: torch.randn(2, prompt_width((8, 16)))}
    untold = {CONDITION: torch.zeros(2, prompt_width((8, 16)))}
    late, early = torch.tensor([999, 999]), torch.tensor([1, 1])
    with torch.no_grad():
        base = network(noisy, late, told)
        assert base.shape == noisy.shape
        assert not torch.allclose(base, network(noisy, late, untold))
        assert not torch.allclose(base, network(noisy, early, told))


def test_taps_add_the_class_token_to_every_patch():
    torch.manual_seed(0)
    vit = SmallVit(VitSettings(width=16, depth=2), 8, 1, 10).eval()
    images = torch.randn(3, 1, 8, 8)
    taps, tokens = vit(images), vit.tokens(images)
    assert [tuple(tap.shape) for tap in taps] == [(3, 16, 16)] * 3
    assert vit.channels == (16, 16, 16)
    torch.testing.assert_close(taps[1][0, :, 5], tokens[1][0, 6] + tokens[1][0, 0])
    assert VitEmbedding(vit)(images).shape == (3, 16)


def test_gradients_reach_the_image_through_frozen_features():
    torch.manual_seed(0)
    vit = SmallVit(VitSettings(width=16, depth=2), 8, 1, 10).requires_grad_(False).eval()
    images = torch.randn(2, 1, 8, 8, requires_grad=True)
    sum(tap.square().mean() for tap in vit(images)).backward()
    assert float(images.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in vit.parameters())


def test_a_classifier_learns_digits_it_has_not_seen(tmp_path):
    torch.manual_seed(0)
    images = load_images("digits", 8)
    network = MetricNetwork(1, 10)
    settings = SupervisedSettings(steps=120, batch=64, learning_rate=2e-3, warmup_steps=10)
    train_classifier(network, network, images.train, settings, 0, "cpu", tmp_path)
    features, read = network.read(images.test.pixels)
    assert features.shape == (len(images.test), 64)
    assert float((read == images.test.labels).float().mean()) > 0.9


def test_a_second_call_loads_the_teacher(tmp_path, schedule):
    images = load_images("digits", 8).train
    settings = TeacherSettings(
        steps=40, batch=32, learning_rate=2e-3, warmup_steps=5, ema_decay=0.9
    )

    def train():
        torch.manual_seed(0)
        network = small_unet(8, 1, (8, 16))
        prompts = caption_vectors(images.captions, prompt_width((8, 16)))
        pixels = images.pixels
        return train_teacher(network, schedule, pixels, prompts, settings, 0, "cpu", tmp_path)

    first, _ = train()
    second, _ = train()
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_same_padding_is_tensorflows():
    # Of 5 pixels at stride 2 the output has 3; the odd pixel of padding goes right and below.
    convolution = efficientnet.SameConv(1, 1, 3, 2, bias=False)
    convolution.weight.data = torch.zeros(1, 1, 3, 3)
    convolution.weight.data[0, 0, 0, 0] = 1
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.testing.assert_close(convolution(image)[0, 0], image[0, 0, ::2, ::2])
    assert convolution(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 3, 3)


def test_a_random_network_needs_no_published_weights(tmp_path, monkeypatch):
    profile = tiny(**{"sets.0.eye": "efficientnet", "sets.0.efficientnet_side": 32})
    bench = Workbench(profile, profile.sets[0], tmp_path)
    monkeypatch.setenv("OKML_DATA", str(tmp_path / "empty"))
    monkeypatch.setenv("OKML_OFFLINE", "1")
    eye = bench.random_eye(0)
    assert not any(parameter.requires_grad for parameter in eye.parameters())
    with pytest.raises(DataError, match="efficientnet_lite0"):
        bench.eye(0)


def test_the_network_that_judges_knows_the_digits_that_it_learned(tmp_path):
    profile = tiny(**{"sets.0.metric.steps": 80})
    bench = Workbench(profile, profile.sets[0], tmp_path)
    _, read = bench.metric.read(bench.images.train.pixels)
    assert (read == bench.images.train.labels).float().mean() > 0.5  # by chance, a tenth


@pytest.mark.realdata
def test_published_weights_recognize_two_photos():
    network = efficientnet.load_efficientnet()
    daisy, palace = 985, 698  # ImageNet
    tops = []
    for photo in load_sample_images().images:
        pixels = torch.from_numpy(photo.transpose(2, 0, 1).copy()).float()[None] / 127.5 - 1
        square = pixels[..., 106:533]
        with torch.no_grad():
            tops.append(int(network(efficientnet.as_input(square, 224)).argmax()))
    assert tops == [palace, daisy]
    features = efficientnet.EfficientNetFeatures(32)(torch.zeros(2, 1, 8, 8))
    shapes = [(2, 24, 64), (2, 40, 16), (2, 80, 4), (2, 112, 4)]
    assert [tuple(feature.shape) for feature in features] == shapes
