"""Everything made on one image set, each made once: networks, teacher, students, judge."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.accelerator import pick_device
from okml.add.alternatives.consistency import (
    AsSample,
    ConsistencyDistillation,
    ConsistencyFunction,
)
from okml.add.alternatives.gaussians import draw_gaussians
from okml.add.alternatives.progressive import progressive_round, rounds_of
from okml.add.arms import ARMS, TUNING_SEED, Arm, tuned
from okml.add.denoiser import Denoiser
from okml.add.examples import ExampleBatches
from okml.add.images import load_images
from okml.add.images.prompts import caption_vectors
from okml.add.interfaces import Condition, FeatureNetwork, Networks
from okml.add.profile_settings import AddProfile, SetSettings
from okml.add.quality import EvaluatedImages, ImageEvaluator
from okml.add.rates import Tried, search
from okml.add.sampling import TeacherSampler, predict_sample, sample_student, sample_teacher
from okml.add.schedule import NoiseSchedule
from okml.add.small.classifier import MetricNetwork
from okml.add.small.efficientnet import EfficientNetEmbedding, EfficientNetFeatures
from okml.add.small.patches import PatchCodec
from okml.add.small.pretraining import train_classifier, train_teacher
from okml.add.small.unet import CONDITION, prompt_width, small_scheduler, small_unet
from okml.add.small.vit import SmallVit, VitEmbedding
from okml.add.student import make_student
from okml.add.target import Guided
from okml.add.task import AdversarialDistillation
from okml.kept import trainings_folder
from okml.runtime import seed_everything
from okml.training import History, SupervisedTask, TrainingSettings, fit

METRIC_SEED, EYE_SEED, EMBEDDER_SEED, TEACHER_SEED, RANDOM_EYE_SEED = range(5)
SAMPLE_BATCH = 250  # images drawn at a time
WATCHED_IMAGES = 500


@dataclass(frozen=True)
class TrainedDenoiser:
    """A network after its training.

    Attributes:
        denoiser: The averaged network; called as one of the schedule's prediction type.
        rounds: The histories of the trainings that led to it from where it began, in order; one but
            for progressive distillation.
    """

    denoiser: nn.Module
    rounds: tuple[History, ...]

    @property
    def history(self) -> History:
        """The history of the training, of the last round where there are several."""
        return self.rounds[-1]

    @property
    def updates(self) -> int:
        """The number of updates of all rounds."""
        return sum(history.steps for history in self.rounds)

    @property
    def seconds(self) -> float:
        """The seconds of all rounds."""
        return sum(float(history.frame["seconds"][-1]) for history in self.rounds)


@dataclass(frozen=True)
class Requests:
    """The inputs of sampling, the same for all networks of one sampling seed.

    Attributes:
        noise: The noise that sampling starts from, in the shape of the latents.
        labels: The classes asked for, ``[n]``.
        prompts: The vectors of the captions, ``[n, d]``.
        captions: The texts of the prompts, n of them.
    """

    noise: Tensor
    labels: Tensor
    prompts: Tensor
    captions: tuple[str, ...]


class Workbench:
    """Networks and judge of one image set; its trainings are kept in the folder of the run."""

    def __init__(self, profile: AddProfile, settings: SetSettings, run_dir: Path) -> None:
        self.profile = profile
        self.settings = settings
        self.run_dir = run_dir
        self.device = pick_device(profile.device)
        self.images = load_images(settings.images, settings.size, settings.most_images)
        self.scheduler = small_scheduler()
        self.schedule = NoiseSchedule.from_scheduler(self.scheduler, settings.add.terminal_snr)
        self.width = prompt_width(settings.channels)
        self.codec = PatchCodec(settings.patch)
        self.latents = self.codec.encode(self.images.train.pixels)

    def _folder(self, trained_by: Any) -> Path:
        name = f"{self.settings.images}{self.settings.size}"
        return trainings_folder(self, trained_by) / name

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Return the vectors of captions, ``[n, d]``."""
        return caption_vectors(captions, self.width, self.settings.text)

    @cached_property
    def prompts(self) -> Tensor:
        """The vectors of the training captions, ``[n, d]``."""
        return self.embed(self.images.train.captions)

    @cached_property
    def test_prompts(self) -> Tensor:
        """The vectors of the held-out captions, ``[n, d]``."""
        return self.embed(self.images.test.captions)

    # ------------------------------------------------------------------ what stays fixed

    @cached_property
    def metric(self) -> MetricNetwork:
        """The network that judges, trained on real images."""
        seed_everything(METRIC_SEED)
        network = MetricNetwork(self.images.channels, len(self.images.classes))
        train_classifier(
            network, network, self.images.train, self.settings.metric, METRIC_SEED,
            self.profile.device, self._folder(Workbench.metric) / "metric",
        )  # fmt: skip
        return network.to(self.device)

    @cached_property
    def judge(self) -> ImageEvaluator:
        """The judge of all samples."""
        return ImageEvaluator(self.images, self.metric, self.prompts)

    @cached_property
    def eye(self) -> FeatureNetwork:
        """F of the discriminator."""
        if self.settings.eye == "efficientnet":
            return EfficientNetFeatures(self.settings.efficientnet_side).to(self.device)
        return self.vit(EYE_SEED)

    @cached_property
    def random_eye(self) -> FeatureNetwork:
        """The same architecture with random weights."""
        seed_everything(RANDOM_EYE_SEED)
        if self.settings.eye == "efficientnet":
            side = self.settings.efficientnet_side
            return EfficientNetFeatures(side, pretrained=False).to(self.device)
        return self._new_vit().requires_grad_(False).eval().to(self.device)

    @cached_property
    def embedder(self) -> EfficientNetEmbedding | VitEmbedding:
        """The network of c_img: not the discriminator's, where the chapter trains both."""
        if self.settings.eye == "efficientnet":
            return EfficientNetEmbedding(self.settings.efficientnet_side).to(self.device)
        return VitEmbedding(self.vit(EMBEDDER_SEED))

    @cached_property
    def embeddings(self) -> Tensor:
        """c_img of every training image, ``[n, d]``."""
        parts = torch.split(self.images.train.pixels, SAMPLE_BATCH)
        with torch.no_grad():
            return torch.cat([self.embedder(part.to(self.device)).cpu() for part in parts])

    @cache  # noqa: B019 - a workbench lives as long as its run
    def vit(self, seed: int) -> SmallVit:
        """Return a trained vision transformer."""
        seed_everything(seed)
        network, settings = self._new_vit(), self.settings.vit_training
        assert settings is not None  # the settings insist on it where transformers are used
        train_classifier(
            network, network.classify, self.images.train, settings, seed, self.profile.device,
            self._folder(Workbench.vit) / f"vit{seed}",
        )  # fmt: skip
        return network

    def _new_vit(self) -> SmallVit:
        images = self.images
        return SmallVit(self.settings.vit, images.size, images.channels, len(images.classes))

    @cache  # noqa: B019
    def train_teacher(self) -> TrainedDenoiser:
        """Return the teacher of all arms and alternatives."""
        seed_everything(TEACHER_SEED)
        channels = self.settings.channels
        _, depth, side, _ = self.latents.shape
        denoiser, history = train_teacher(
            small_unet(side, depth, channels),
            NoiseSchedule.from_scheduler(self.scheduler),
            self.latents,
            self.prompts,
            self.settings.teacher,
            TEACHER_SEED,
            self.profile.device,
            self._folder(Workbench.train_teacher) / f"teacher_{'_'.join(map(str, channels))}",
        )
        return TrainedDenoiser(denoiser, (history,))

    @property
    def teacher(self) -> Denoiser:
        """The teacher's network."""
        denoiser = self.train_teacher().denoiser
        assert isinstance(denoiser, Denoiser)
        return denoiser

    @property
    def guided(self) -> Guided:
        """The teacher as it draws, and as it teaches alternatives; the arms guide it themselves."""
        empty = {CONDITION: torch.zeros(1, self.width)}
        return Guided(self.teacher, self.settings.add.guidance, empty)

    def calls(self, method: str, steps: int) -> int:
        """Return the number of calls of the network for an image; guidance takes two a step."""
        if method in ("class Gaussians", "training images"):
            return 0
        return steps * (1 + (method.startswith("teacher") and self.settings.add.guidance != 1))

    # ------------------------------------------------------------------ students

    def train(
        self, what: str, seed: int, rate: float | None = None, steps: int = 1
    ) -> TrainedDenoiser | nn.Module:
        """Return a finished training; classifiers alone are returned as networks."""
        match what:
            case "metric":
                return self.metric
            case "eye":
                return self.vit(EYE_SEED)
            case "embedder":
                return self.vit(EMBEDDER_SEED)
            case "teacher":
                return self.train_teacher()
            case _:
                return self.student(what, seed, steps, rate)

    def student(
        self, method: str, seed: int, steps: int = 1, rate: float | None = None
    ) -> TrainedDenoiser:
        """Return the student of an arm or an alternative.

        Args:
            method: The name of the arm or alternative.
            seed: The seed of the training.
            steps: The number of steps, for each of which progressive distillation has a student.
            rate: The factor on its learning rate; None: the one that suits it best.
        """
        rate = self.rate(method) if rate is None else rate
        if method == "consistency":
            return self.consistency(seed, rate)
        if method == "progressive":
            return self.progressive(seed, steps, rate)
        return self.distil(method, seed, rate)

    def rate(self, method: str) -> float:
        """Return the factor on a method's learning rate; see :func:`okml.add.arms.tuned`."""
        if len(self.settings.rates) == 1:
            return self.settings.rates[0]
        return self.tried(method if method in tuned(self.settings) else "default").best

    def bracketed(self, method: str) -> bool:
        """Tell whether a method chose its rate, and no rate beyond those tried may be better."""
        if len(self.settings.rates) == 1 or method not in tuned(self.settings):
            return False
        return self.tried(method).bracketed

    @cache  # noqa: B019
    def tried(self, method: str) -> Tried:
        """Return the rates that a method tried, and the distances at one step that they reached."""

        def distance(rate: float) -> float:
            return self.judged(method, 1, TUNING_SEED, rate).quality.fd

        settings = self.settings
        return search(settings.rates, settings.more_rates, distance, self.untrained_fd(method))

    def untrained_fd(self, method: str) -> float:
        """Return the distance at one step of a method's student before its training."""
        init = ARMS[method].settings(self.settings.add).student_init if method in ARMS else None
        seed_everything(TUNING_SEED)
        student = make_student(self.teacher, init or "pretrained").eval().to(self.device)
        asked = self.asked(method, TUNING_SEED)
        return self.judge(self.draw(student, asked, 1), asked.labels, asked.prompts).quality.fd

    @cache  # noqa: B019
    def distil(self, name: str, seed: int, rate: float = 1.0) -> TrainedDenoiser:
        """Return the averaged student of an arm."""
        arm, run = ARMS[name], self.settings.distillation
        settings = arm.settings(self.settings.add, rate)
        teacher, networks, image_width = self.teacher, self.networks(arm), self.embedder.width
        evaluate = self._distance(seed, lambda student, asked: self.draw(student, asked, 1))
        # Loading these draws random numbers, so the seed comes after it: weights then follow from
        # the seed alone, whichever networks this process has loaded before.
        seed_everything(seed)
        student = make_student(teacher, settings.student_init)
        seed_everything(seed)  # the heads begin alike in all arms, also where the student is random
        task = AdversarialDistillation(
            student,
            self.schedule,
            networks,
            settings,
            text_width=self.width,
            image_width=image_width,
            evaluate=evaluate,
            identity={"set": self.settings.model_dump(mode="json"), "arm": name},
        )
        folder = self._folder(Workbench.distil) / name / f"seed{seed}_rate{rate:g}"
        history = fit(task, self.examples(arm), self._training(run.steps, seed), folder)
        return TrainedDenoiser(history.averaged["student"].eval(), (history,))

    def networks(self, arm: Arm) -> Networks:
        """Return the frozen networks of an arm's distillation."""
        return Networks(
            teacher=self.teacher,
            teacher_schedule=NoiseSchedule.from_scheduler(self.scheduler),
            features=self.random_eye if arm.random_features else self.eye,
            codec=self.codec,
            null_condition={CONDITION: torch.zeros(1, self.width)},
        )

    def examples(self, arm: Arm | None = None) -> ExampleBatches:
        """Return the training images as batches; without an arm their latents, as images."""
        if arm is None:
            return ExampleBatches(self.latents, {CONDITION: self.prompts})
        told = torch.zeros_like(self.prompts) if arm.blind else self.prompts
        return ExampleBatches(
            self.images.train.pixels, {CONDITION: told}, text=self.prompts, image=self.embeddings
        )

    def _distance(
        self, seed: int, draw: Callable[[nn.Module, Requests], Tensor]
    ) -> Callable[[nn.Module], dict[str, float]]:
        """Return the function that measures a student while it trains, on fewer samples.

        Args:
            seed: The sampling seed.
            draw: A function of the student and requests that returns samples.
        """
        requests, judge = self.requests(seed, WATCHED_IMAGES), self.judge

        def measure(student: nn.Module) -> dict[str, float]:
            features, _ = self.metric.read(draw(student, requests).clamp(-1, 1))
            return {"fd": judge.distance(features)}

        return measure

    @cache  # noqa: B019
    def consistency(self, seed: int, rate: float = 1.0) -> TrainedDenoiser:
        """Return a consistency model."""
        settings, run = self.settings.consistency, self.settings.distillation

        def draw(student: nn.Module, requests: Requests) -> Tensor:
            return self.draw(AsSample(student, self.schedule), requests, 1)

        evaluate = self._distance(seed, draw)
        seed_everything(seed)
        student, target = (
            ConsistencyFunction(make_student(self.teacher), self.schedule) for _ in range(2)
        )
        task = ConsistencyDistillation(
            student, target, self.guided, self.schedule, settings.grid,
            rate * settings.learning_rate, settings.target_decay,
            evaluate, {"set": self.settings.model_dump(mode="json")},
        )  # fmt: skip
        folder = self._folder(Workbench.consistency) / "consistency" / f"seed{seed}_rate{rate:g}"
        history = fit(task, self.examples(), self._training(run.steps, seed), folder)
        averaged = AsSample(history.averaged["student"], self.schedule)
        return TrainedDenoiser(averaged.eval(), (history,))

    @cache  # noqa: B019
    def progressive(self, seed: int, steps: int, rate: float = 1.0) -> TrainedDenoiser:
        """Return the student of ``steps`` steps.

        Whatever their number, its rounds together take as many updates as another distillation. The
        first round takes over the guidance of the teacher, so later ones need none.
        """
        start, teacher = self.teacher, cast(nn.Module, self.guided)
        histories: list[History] = []
        folder = self._folder(Workbench.progressive) / f"progressive{steps}"
        folder /= f"seed{seed}_rate{rate:g}"
        budget = self.settings.distillation.steps
        for made, updates in rounds_of(self.settings.progressive.from_steps, steps, budget):
            student = make_student(start)
            task = self._round(student, teacher, seed, made, updates, rate)
            settings = self._training(updates, seed, ema=False)
            histories.append(fit(task, self.examples(), settings, folder / f"to{made}"))
            start = teacher = student.eval()
        return TrainedDenoiser(start, tuple(histories))

    def _round(
        self,
        student: Denoiser,
        teacher: nn.Module,
        seed: int,
        steps: int,
        updates: int,
        rate: float,
    ) -> SupervisedTask:
        """Return the task of a round, at whose end a student takes ``steps`` steps."""

        def draw(network: nn.Module, requests: Requests) -> Tensor:
            return self.draw_with_teacher(requests, steps, "ddim", network)

        return progressive_round(
            student, copy.deepcopy(teacher).requires_grad_(False), self.schedule, steps,
            rate * self.settings.progressive.learning_rate, updates, self._distance(seed, draw),
            {"set": self.settings.model_dump(mode="json")},
        )  # fmt: skip

    def _training(self, steps: int, seed: int, *, ema: bool = True) -> TrainingSettings:
        run = self.settings.distillation
        return TrainingSettings(
            batch_size=run.batch,
            max_steps=steps,
            seed=seed,
            gradient_clip=1.0,
            ema_decay=run.ema_decay if ema else None,
            device=self.profile.device,
            keep_checkpoints=1,
            evaluate_every=max(1, steps // self.settings.watch),
            evaluate_unit="step",
        )

    # ------------------------------------------------------------------ samples

    @property
    def free_captions(self) -> bool:
        """Whether a caption says more than a class."""
        return len(set(self.images.test.captions)) > len(self.images.classes)

    @property
    def blocks(self) -> NDArray[np.int64]:
        """The number of the resampling block of each request, ``[n]``.

        A block has one image of each class, since the distance depends on their shares; where
        captions are free, it has the images of one caption.
        """
        numbers = np.arange(self.settings.samples)
        if self.free_captions:
            return numbers % len(self.images.test)
        return numbers // len(self.images.classes)

    @cache  # noqa: B019
    def requests(self, seed: int, count: int | None = None) -> Requests:
        """Return the requests of a sampling seed.

        They have the held-out captions in turn where captions are free, else each class equally
        often.
        """
        count = count or self.settings.samples
        test, classes = self.images.test, self.images.classes
        if self.free_captions:
            rows = torch.arange(count) % len(test)
        else:
            first = torch.tensor([test.labels.tolist().index(c) for c in range(len(classes))])
            rows = first[torch.arange(count) % len(classes)]
        captions = tuple(test.captions[row] for row in rows)
        shape = (count, *self.latents.shape[1:])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(1000 + seed))
        return Requests(noise, test.labels[rows], self.test_prompts[rows], captions)

    @cache  # noqa: B019
    def judged(
        self, method: str, steps: int, seed: int, rate: float | None = None
    ) -> EvaluatedImages:
        """Return the evaluated samples of a method for the requests of a seed."""
        asked = self.requests(seed)
        return self.judge(self.sample(method, steps, seed, rate), asked.labels, asked.prompts)

    def asked(self, method: str, seed: int) -> Requests:
        """Return what a method is asked for; an arm that was not told in training is not here."""
        requests = self.requests(seed)
        if method in ARMS and ARMS[method].blind:
            return replace(requests, prompts=torch.zeros_like(requests.prompts))
        return requests

    def sample(self, method: str, steps: int, seed: int, rate: float | None = None) -> Tensor:
        """Return the samples of a method for the requests of a seed, ``[n, c, s, s]``."""
        requests = self.asked(method, seed)
        if method == "teacher, DDIM":
            return self.draw_with_teacher(requests, steps)
        if method == "teacher, DPM-Solver++":
            return self.draw_with_teacher(requests, steps, "dpm_solver++")
        if method == "progressive":
            network = self.student(method, seed, steps, rate).denoiser
            return self.draw_with_teacher(requests, steps, "ddim", network)
        if method == "class Gaussians":
            return draw_gaussians(self.images.train, requests.labels, seed)
        if method == "training images":
            return self.images.train.pixels[self._of_classes(requests.labels, seed)]
        return self.draw(self.student(method, seed, rate=rate).denoiser, requests, steps)

    def _of_classes(self, labels: Tensor, seed: int) -> Tensor:
        """Draw a training image of each class asked for."""
        draws, known = torch.Generator().manual_seed(seed), self.images.train.labels
        rows = torch.empty_like(labels)
        for label in torch.unique(labels):
            own, asked = torch.nonzero(known == label).flatten(), labels == label
            rows[asked] = own[torch.randint(len(own), (int(asked.sum()),), generator=draws)]
        return rows

    def draw(self, denoiser: nn.Module, requests: Requests, steps: int) -> Tensor:
        """Return samples of a student, ``[n, c, s, s]``."""
        fresh = torch.Generator(self.device).manual_seed(0)  # it draws the noise between steps

        def one(noise: Tensor, condition: Condition) -> Tensor:
            return sample_student(denoiser, self.schedule, noise, condition, steps, generator=fresh)

        return self._in_batches(one, requests.noise, requests.prompts)

    def denoise(
        self, denoiser: nn.Module, clean: Tensor, noise: Tensor, timestep: int, prompts: Tensor
    ) -> Tensor:
        """Return a student's estimates of images noised to a timestep, ``[n, c, s, s]``.

        The noise has the shape of the latents.
        """

        def one(both: Tensor, condition: Condition) -> Tensor:
            at = torch.full((len(both),), timestep, device=both.device)
            own, fresh = both.chunk(2, dim=1)
            noisy = self.schedule.add_noise(own, fresh, at)
            return predict_sample(denoiser, self.schedule, noisy, at, condition)

        return self._in_batches(one, torch.cat([self.codec.encode(clean), noise], 1), prompts)

    def draw_with_teacher(
        self,
        requests: Requests,
        steps: int,
        sampler: TeacherSampler = "ddim",
        denoiser: nn.Module | None = None,
    ) -> Tensor:
        """Return samples of the teacher, or of another network that is sampled like it."""
        network = denoiser or self.guided

        def one(noise: Tensor, condition: Condition) -> Tensor:
            return sample_teacher(network, self.scheduler, noise, condition, steps, sampler)

        return self._in_batches(one, requests.noise, requests.prompts)

    def _in_batches(
        self, sampler: Callable[[Tensor, Condition], Tensor], inputs: Tensor, prompts: Tensor
    ) -> Tensor:
        parts = zip(
            torch.split(inputs, SAMPLE_BATCH), torch.split(prompts, SAMPLE_BATCH), strict=True
        )
        drawn = [
            sampler(noise.to(self.device), {CONDITION: told.to(self.device)}).cpu()
            for noise, told in parts
        ]
        return self.codec.decode(torch.cat(drawn))
