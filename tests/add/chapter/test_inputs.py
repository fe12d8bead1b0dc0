"""What the student sees in training beside what it sees in sampling."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from okml.add.experiments.controls import OWN, REAL, _inputs, _seen
from okml.add.sampling import predict_sample, sample_student
from okml.add.small.unet import CONDITION, small_unet
from okml.add.workbench import TrainedDenoiser, Workbench
from tests.add.chapter.tiny import tiny


def test_own_samples_are_those_of_sampling_in_as_many_steps(tmp_path, monkeypatch):
    """The chain ends where the sampler ends, and real images are noised once to each timestep."""
    profile = tiny()
    bench = Workbench(profile, profile.main, tmp_path)
    torch.manual_seed(0)
    student = small_unet(8, 1, profile.main.channels).eval()
    trained = TrainedDenoiser(student, ())
    monkeypatch.setattr(Workbench, "student", lambda *_, **__: trained)
    seen = []

    def judge(images, labels, prompts):
        seen.append(images)
        return SimpleNamespace(features=images, quality=SimpleNamespace(fd=0.0))

    bench.__dict__["judge"] = judge
    rows, features = _inputs(bench, seed=3)
    assert [(row["timestep"], row["input"]) for row in rows] == [
        (timestep, name) for timestep in (749, 499, 249) for name in (REAL, OWN)
    ]
    images = _seen(bench)
    told = {CONDITION: bench.test_prompts[: len(images)]}
    draws = torch.Generator().manual_seed(3)
    noise = torch.randn(images.pixels.shape, generator=draws)
    expected = sample_student(student, bench.schedule, noise, told, 4, draws)
    torch.testing.assert_close(features[OWN], expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(seen[1], seen[3], atol=1e-2)  # each step begins at the one before
    draws = torch.Generator().manual_seed(3)
    *_, last = (torch.randn(images.pixels.shape, generator=draws) for _ in range(4))
    at = torch.full((len(images),), 249)
    with torch.no_grad():
        noisy = bench.schedule.add_noise(images.pixels, last, at)
        expected = predict_sample(student, bench.schedule, noisy, at, told)
    torch.testing.assert_close(features[REAL], expected, rtol=1e-4, atol=1e-4)
