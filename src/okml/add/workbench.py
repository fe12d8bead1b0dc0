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
from okml.training.rates import TriedRates, search

METRIC_SEED = 0  # one network judges the students of all seeds
# The transformers of a seed, each of which draws from a seed of its own.
EYE, EMBEDDER = "eye", "embedder"
TRANSFORMERS = (EYE, EMBEDDER)
SAMPLE_BATCH = 250  # images drawn at a time
WATCHED_IMAGES = 500
START, FRESH = 1_000, 2_000_000  # added to a sampling seed: for the first noise, for later ones


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
        seed: The sampling seed, which also tells whose teacher draws.
    """

    noise: Tensor
    labels: Tensor
    prompts: Tensor
    captions: tuple[str, ...]
    seed: int


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

    # ------------------------------------------------------------------ what students find trained

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

    def eye(self, seed: int) -> FeatureNetwork:
        """Return F of a seed's discriminators."""
        if self.settings.eye == "efficientnet":
            return self._efficientnet
        return self.vit(EYE, seed)

    @cache  # noqa: B019 - a workbench lives as long as its run
    def random_eye(self, seed: int) -> FeatureNetwork:
        """Return the same architecture with random weights."""
        seed_everything(seed)
        if self.settings.eye == "efficientnet":
            side = self.settings.efficientnet_side
            return EfficientNetFeatures(side, pretrained=False).to(self.device)
        return self._new_vit().requires_grad_(False).eval().to(self.device)

    def embedder(self, seed: int) -> EfficientNetEmbedding | VitEmbedding:
        """Return the network of c_img: not F, where the chapter trains both."""
        if self.settings.eye == "efficientnet":
            return self._efficientnet_embedding
        return VitEmbedding(self.vit(EMBEDDER, seed))

    @cached_property
    def _efficientnet(self) -> EfficientNetFeatures:
        return EfficientNetFeatures(self.settings.efficientnet_side).to(self.device)

    @cached_property
    def _efficientnet_embedding(self) -> EfficientNetEmbedding:
        return EfficientNetEmbedding(self.settings.efficientnet_side).to(self.device)

    @cache  # noqa: B019
    def embeddings(self, seed: int) -> Tensor:
        """Return c_img of every training image, ``[n, d]``."""
        embedder, parts = self.embedder(seed), torch.split(self.images.train.pixels, SAMPLE_BATCH)
        with torch.no_grad():
            return torch.cat([embedder(part.to(self.device)).cpu() for part in parts])

    @cache  # noqa: B019
    def vit(self, which: str, seed: int) -> SmallVit:
        """Return a trained vision transformer, one of ``TRANSFORMERS``."""
        own = len(TRANSFORMERS) * seed + TRANSFORMERS.index(which)
        seed_everything(own)
        network, settings = self._new_vit(), self.settings.vit_training
        assert settings is not None  # the settings insist on it where transformers are used
        train_classifier(
            network, network.classify, self.images.train, settings, own, self.profile.device,
            self._folder(Workbench.vit) / f"{which}{seed}",
        )  # fmt: skip
        return network

    def _new_vit(self) -> SmallVit:
        images = self.images
        return SmallVit(self.settings.vit, images.size, images.channels, len(images.classes))

    @cache  # noqa: B019
    def train_teacher(self, seed: int) -> TrainedDenoiser:
        """Return the teacher of all arms and alternatives of a seed."""
        seed_everything(seed)
        channels = self.settings.channels
        _, depth, side, _ = self.latents.shape
        denoiser, history = train_teacher(
            small_unet(side, depth, channels),
            NoiseSchedule.from_scheduler(self.scheduler),
            self.latents,
            self.prompts,
            self.settings.teacher,
            seed,
            self.profile.device,
            self._folder(Workbench.train_teacher)
            / f"teacher_{'_'.join(map(str, channels))}"
            / f"seed{seed}",
        )
        return TrainedDenoiser(denoiser, (history,))

    def teacher(self, seed: int) -> Denoiser:
        """Return the network of a seed's teacher."""
        denoiser = self.train_teacher(seed).denoiser
        assert isinstance(denoiser, Denoiser)
        return denoiser

    def guided(self, seed: int) -> Guided:
        """Return the teacher as it draws and teaches alternatives; arms guide it themselves."""
        empty = {CONDITION: torch.zeros(1, self.width)}
        return Guided(self.teacher(seed), self.settings.add.guidance, empty)

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
            case "eye" | "embedder":
                return self.vit(what, seed)
            case "teacher":
                return self.train_teacher(seed)
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
    def tried(self, method: str) -> TriedRates:
        """Return the rates that a method tried; a value is minus the distance at one step."""

        def nearness(rate: float) -> float:
            return -self.judged(method, 1, TUNING_SEED, rate).quality.fd

        settings = self.settings
        return search(settings.rates, settings.more_rates, nearness, -self.untrained_fd(method))

    def untrained_fd(self, method: str) -> float:
        """Return the distance at one step of a method's student before its training."""
        init = ARMS[method].settings(self.settings.add).student_init if method in ARMS else None
        seed_everything(TUNING_SEED)
        student = make_student(self.teacher(TUNING_SEED), init or "pretrained")
        student = student.eval().to(self.device)
        asked = self.asked(method, TUNING_SEED)
        return self.judge(self.draw(student, asked, 1), asked.labels, asked.prompts).quality.fd

    @cache  # noqa: B019
    def distil(self, name: str, seed: int, rate: float = 1.0) -> TrainedDenoiser:
        """Return the averaged student of an arm."""
        arm, run = ARMS[name], self.settings.distillation
        settings = arm.settings(self.settings.add, rate, run.steps)
        teacher, networks = self.teacher(seed), self.networks(arm, seed)
        examples, image_width = self.examples(seed, arm), self.embedder(seed).width
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
        history = fit(task, examples, self._training(run.steps, seed), folder)
        return TrainedDenoiser(history.averaged["student"].eval(), (history,))

    def networks(self, arm: Arm, seed: int) -> Networks:
        """Return the frozen networks of an arm's distillation."""
        return Networks(
            teacher=self.teacher(seed),
            teacher_schedule=NoiseSchedule.from_scheduler(self.scheduler),
            features=self.random_eye(seed) if arm.random_features else self.eye(seed),
            codec=self.codec,
            null_condition={CONDITION: torch.zeros(1, self.width)},
        )

    def examples(self, seed: int, arm: Arm) -> ExampleBatches:
        """Return the training images as batches, with the c_img of a seed."""
        told = torch.zeros_like(self.prompts) if arm.blind else self.prompts
        image = self.embeddings(seed)
        return ExampleBatches(
            self.images.train.pixels, {CONDITION: told}, text=self.prompts, image=image
        )

    def latent_examples(self) -> ExampleBatches:
        """Return the latents of the training images as batches, for alternatives."""
        return ExampleBatches(self.latents, {CONDITION: self.prompts})

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

        evaluate, teacher, guided = (
            self._distance(seed, draw),
            self.teacher(seed),
            self.guided(seed),
        )
        seed_everything(seed)
        student, target = (
            ConsistencyFunction(make_student(teacher), self.schedule) for _ in range(2)
        )
        task = ConsistencyDistillation(
            student, target, guided, self.schedule, settings.grid,
            rate * settings.learning_rate, settings.target_decay,
            evaluate, {"set": self.settings.model_dump(mode="json")},
        )  # fmt: skip
        folder = self._folder(Workbench.consistency) / "consistency" / f"seed{seed}_rate{rate:g}"
        history = fit(task, self.latent_examples(), self._training(run.steps, seed), folder)
        averaged = AsSample(history.averaged["student"], self.schedule)
        return TrainedDenoiser(averaged.eval(), (history,))

    @cache  # noqa: B019
    def progressive(self, seed: int, steps: int, rate: float = 1.0) -> TrainedDenoiser:
        """Return the student of ``steps`` steps.

        Whatever their number, its rounds together take as many updates as another distillation. The
        first round takes over the guidance of the teacher, so later ones need none.
        """
        start, teacher = self.teacher(seed), cast(nn.Module, self.guided(seed))
        histories: list[History] = []
        folder = self._folder(Workbench.progressive) / f"progressive{steps}"
        folder /= f"seed{seed}_rate{rate:g}"
        budget = self.settings.distillation.steps
        for made, updates in rounds_of(self.settings.progressive.from_steps, steps, budget):
            student = make_student(start)
            task = self._round(student, teacher, seed, made, updates, rate)
            settings = self._training(updates, seed, ema=False)
            examples = self.latent_examples()
            histories.append(fit(task, examples, settings, folder / f"to{made}"))
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
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(START + seed))
        return Requests(noise, test.labels[rows], self.test_prompts[rows], captions, seed)

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
        # It draws the noise between steps from other seeds than the noise at the start.
        fresh = torch.Generator(self.device).manual_seed(FRESH + requests.seed)

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
        network = denoiser or self.guided(requests.seed)

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
