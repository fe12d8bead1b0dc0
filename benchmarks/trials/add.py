"""Single changes of the recipe of ADD beside the recipe: does one of them reach the teacher?

Teacher, judge and the networks that watch are those of a kept run of the chapter, which is only
read; nothing of it is trained again. From them each trial trains a student with one change: the
weight of distillation, the penalty R1, the learning rate of the discriminator's heads, the number
of their updates, one of three parts of the recipe left out, or the length of the training. All see
the same batches, noise and requests, so that a trial differs from the recipe in its change alone;
up to the number of updates of the profile, the recipe is the recorded student of that seed.

While a student trains, the Fréchet distance of one step is taken, of the averaged weights, which
the chapter judges, of an average over many more updates, and of the weights as they are; so is the
share of images that the heads put on the right side of zero. The gradient of the adversarial loss
is measured beside that of weighted distillation at the student's images, as the chapter does.

    python -m okml.add --profile night
    python -m benchmarks.trials.add --profile night --set emoji --updates 150 --out FILE

Instead of the first command, ``--train-networks`` trains the two to four networks alone, in the
folder of the run, where the chapter finds them later: 15 minutes of one core for the emoji of
``night``.

Every training is kept in ``--work``: the same command goes on after a kill. Seeds may be trained by
processes of their own in one ``--work`` (``--seeds 0``, ``--seeds 1``, other ``--out``); the
command with all seeds then finds them finished.

Two seeds of all trials take 100 minutes of one core with these options, networks included. The
record that the book shows is ``results/benchmarks/add_trials.json``. Beside it stand long
trainings: ``add_trials_long.json`` of ``--set emoji --updates 2400 --points 24 --trials recipe
weight_500``, in three hours of one core, and ``add_trials_digits.json`` of ``--profile cpu
--set digits --updates 1920 --points 24 --trials recipe``, in twenty minutes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from accelerate.utils import send_to_device
from pydantic import JsonValue
from torch import Tensor, nn

from okml.add.arms import Arm
from okml.add.config import PROFILES
from okml.add.denoiser import Denoiser
from okml.add.examples import ExampleBatches
from okml.add.interfaces import Examples
from okml.add.profile_settings import AddProfile, SetSettings
from okml.add.settings import AddSettings
from okml.add.small.unet import CONDITION
from okml.add.student import make_student
from okml.add.task import AdversarialDistillation, draws_of
from okml.add.workbench import TRANSFORMERS, Requests, Workbench
from okml.benchmark import (
    AddTrials,
    TrialPoint,
    TrialResult,
    TrialRun,
    mean_sd,
    parser_of,
)
from okml.console import report_errors
from okml.errors import ParameterError
from okml.kept import trainings_folder, trainings_in_use
from okml.ledger.records import run_dir
from okml.locks import held
from okml.paths import build_dir
from okml.runtime import seed_everything
from okml.training import Losses, Phase, fit
from okml.training.checkpoint import CheckpointStore
from okml.training.ema import Average

TEACHER = "teacher, DDIM"
LONGER = 2  # times the updates of the profile, unless told otherwise
POINTS = 10  # of a curve; even, so that one of them is where the profile stops
LOGGED = 10  # updates between measurements of the gradients
PROBED = 64  # images of each kind that the heads are asked about
SLOW_DECAY = 0.995  # of an average over 200 updates, where the profiles take some 30 or 100

WEIGHTS = (0.0, 25.0, 100.0, 500.0)  # of distillation
PENALTIES = (1e-3, 1e-2, 1e-1)  # of R1
HEAD_RATES = (0.2, 0.04)  # factors on the learning rate of the heads
TIMES = 4  # the updates of the recipe, in the trial that goes on


# ------------------------------------------------------------------ trials


@dataclass(frozen=True)
class Trial:
    """One change of the recipe.

    Attributes:
        name: The name on the command line.
        title: The name in the table.
        changes: The fields of ``AddSettings`` that differ from the profile's, as JSON values.
        heads_every: The number of steps between updates of the heads.
        heads_times: The number of updates of the heads in such a step, on the same images.
        times: The factor on the number of updates, and on the number of points of the curve.
    """

    name: str
    title: str
    changes: dict[str, JsonValue] = field(default_factory=dict)
    heads_every: int = 1
    heads_times: int = 1
    times: int = 1

    @property
    def differs(self) -> dict[str, JsonValue]:
        """The change as it stands in the record."""
        factors = {
            "heads_every": self.heads_every, "heads_times": self.heads_times, "times": self.times,
        }  # fmt: skip
        return self.changes | {name: value for name, value in factors.items() if value != 1}


def trials_of(recipe: AddSettings) -> dict[str, Trial]:
    """Return all trials by name, the recipe first."""
    weights = [
        # Without it no target is computed, and no ratio to a gradient that is zero.
        Trial(
            f"weight_{weight:g}", f"distillation weight {weight:g}",
            {"distillation_weight": weight} if weight else {"distillation": "none"},
        )
        for weight in WEIGHTS
        if weight != recipe.distillation_weight
    ]  # fmt: skip
    penalties = [
        Trial(f"r1_{weight:g}", f"R1 weight {weight:g}", {"r1_weight": weight})
        for weight in PENALTIES
        if weight != recipe.r1_weight
    ]
    heads = recipe.head_optimizer.model_dump(mode="json")
    rates = {factor: factor * recipe.head_optimizer.learning_rate for factor in HEAD_RATES}
    slower = [
        Trial(
            f"head_rate_{factor:g}", f"heads learn at {rate:g}",
            {"head_optimizer": heads | {"learning_rate": rate}},
        )
        for factor, rate in rates.items()
    ]  # fmt: skip
    listed = (
        Trial("recipe", "the recipe"),
        *weights,
        Trial("distillation_alone", "no discriminator", {"adversarial": False}),
        *penalties,
        *slower,
        Trial("heads_every_4", "heads updated every 4th step", heads_every=4),
        Trial("heads_twice", "heads updated twice a step", heads_times=2),
        Trial("longer", f"{TIMES} times the updates", times=TIMES),
        Trial(
            "last_timestep", "student trained on pure noise alone",
            {"student_timesteps": [recipe.student_timesteps[-1]]},
        ),
        Trial("unguided", "distilled from the teacher without guidance", {"teacher_guidance": 1.0}),
    )  # fmt: skip
    # A profile whose teacher is not guided has nothing to leave out.
    guided = recipe.guidance != 1
    return {trial.name: trial for trial in listed if guided or trial.name != "unguided"}


class WatchedDistillation(AdversarialDistillation):
    """A distillation of a trial, which measures its student and its heads as it goes.

    Args:
        bench: The networks of the kept run.
        student: A network from :func:`okml.add.student.make_student`.
        arm: The changed settings, as the workbench takes them.
        settings: The same in full.
        trial: The trial, which says how often the heads learn.
        requests: What the student is asked to draw.
        probes: Training images and unseen ones that the heads are asked about.
    """

    def __init__(
        self,
        bench: Workbench,
        student: Denoiser,
        arm: Arm,
        settings: AddSettings,
        trial: Trial,
        requests: Requests,
        probes: dict[str, Examples],
    ) -> None:
        super().__init__(
            student,
            bench.schedule,
            bench.networks(arm, requests.seed),
            settings,
            text_width=bench.width,
            image_width=bench.embedder(requests.seed).width,
            identity={"set": bench.settings.model_dump(mode="json"), "trial": trial.differs},
        )
        self.bench = bench
        self.trial = trial
        self.requests = requests
        self.probes = probes
        self._learning = student
        self._slow: Average | None = None

    def phases(self, step: int) -> Iterable[Phase]:
        """Return the phases of the recipe, that of the heads as often as the trial says."""
        for phase in super().phases(step):
            if phase.name != "heads":
                yield phase
            elif step % self.trial.heads_every == 0:
                yield from [phase] * self.trial.heads_times

    def heads_loss(self, step: int, batch: Examples) -> Losses:
        """Return the discriminator's loss; a step with two updates asks for it twice."""
        assert self.heads is not None
        if self.trial.heads_times > 1:
            self.heads.iterate_norms()
        shown = self._shown.get(batch.seed)
        losses = super().heads_loss(step, batch)
        if shown is not None:
            self._shown[batch.seed] = shown
        return losses

    def after_step(self, step: int) -> None:
        """Take the student into the slower average, too."""
        super().after_step(step)
        self._slow = self._slow or Average(self._learning, SLOW_DECAY)
        self._slow.update()

    def evaluate(self) -> dict[str, float]:
        """Return the distance of one step; of the student itself more.

        That is the distance of its slower average, and the accuracy of the heads.
        """
        student = self.modules["student"]
        measured = {"fd": distance(self.bench, student, self.requests)}
        if student is not self._learning:  # but its average
            return measured
        if self._slow is not None:
            measured["fd_slow"] = distance(self.bench, self._slow.module, self.requests)
        return measured | (self._accuracy() if self.heads is not None else {})

    def state(self) -> dict[str, Any]:
        """Return the state of the recipe and the slower average."""
        assert self._slow is not None  # nothing is saved before the first step
        slow = {"updates": self._slow.updates, "weights": self._slow.module.state_dict()}
        return super().state() | {"slow": slow}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take both back."""
        super().load_state(state)
        self._slow = Average(self._learning, SLOW_DECAY)
        self._slow.updates = state["slow"]["updates"]
        self._slow.module.load_state_dict(state["slow"]["weights"])

    def _accuracy(self) -> dict[str, float]:
        """Return the share of images on the right side of zero, by their mean over all heads."""
        found = {}
        for name, batch in self.probes.items():
            draws = draws_of(batch, 0)
            made = self.generate(batch, draws)
            condition = self._joint_condition(batch, made.pure_noise)
            real, drawn = (
                self._logit(images, condition, draws) for images in (batch.images, made.images)
            )
            found[f"real_{name}"] = float((real > 0).float().mean())
            found[f"drawn_{name}"] = float((drawn < 0).float().mean())
        return found

    def _logit(self, images: Tensor, condition: Tensor | None, draws: torch.Generator) -> Tensor:
        logits = self.modules["heads"](self._features(images, draws), condition)
        return torch.stack([each.mean(1) for each in logits]).mean(0)  # [B]


def distance(bench: Workbench, student: nn.Module, requests: Requests) -> float:
    """Return the Fréchet distance of one step of a student to the training images."""
    features, _ = bench.metric.read(bench.draw(student, requests, 1).clamp(-1, 1))
    return bench.judge.distance(features)


def probes_of(bench: Workbench, seed: int) -> dict[str, Examples]:
    """Return some training images and some unseen ones as batches."""
    rng, test = np.random.default_rng(0), bench.images.test
    rows = rng.permutation(len(test))[:PROBED]
    pixels, told = test.pixels[rows], bench.test_prompts[rows]
    with torch.no_grad():
        image = bench.embedder(seed)(pixels.to(bench.device)).cpu()
    unseen = ExampleBatches(pixels, {CONDITION: told}, text=told, image=image)
    seen = bench.examples(seed, Arm("probe", ""))
    batches = {
        "seen": seen.batch(rng.permutation(len(seen))[:PROBED], rng),
        "unseen": unseen.batch(np.arange(len(unseen)), rng),
    }
    return {name: send_to_device(batch, bench.device) for name, batch in batches.items()}


# ------------------------------------------------------------------ the kept run


def train_networks(
    profile: AddProfile, settings: SetSettings, run: Path, seeds: Sequence[int]
) -> None:
    """Train the networks that trials start from in the folder of a run, which the chapter reads."""
    bench = Workbench(profile, settings, run)
    with held(run):
        _ = bench.metric
        for seed in seeds:
            bench.train_teacher(seed)
            for which in TRANSFORMERS if settings.eye == "vit" else ():
                bench.vit(which, seed)


def networks_of(
    profile: AddProfile, settings: SetSettings, run: Path, work: Path, seeds: Sequence[int]
) -> list[str]:
    """Copy the finished networks of a kept run into a working folder; return their folders' names.

    Raises:
        ParameterError: If the run has not finished one of them with this profile and code.
    """
    images = f"{settings.images}{settings.size}"
    teacher = f"teacher_{'_'.join(map(str, settings.channels))}"
    needed = {"metric": (settings.metric, [f"{images}/metric"])}
    needed["train_teacher"] = settings.teacher, [f"{images}/{teacher}/seed{seed}" for seed in seeds]
    if settings.eye == "vit":
        assert settings.vit_training is not None  # the settings insist on it
        trained = [f"{images}/{which}{seed}" for seed in seeds for which in TRANSFORMERS]
        needed["vit"] = settings.vit_training, trained
    kept = {folder.name.partition("-")[0]: folder for folder in trainings_in_use(profile, run)}
    names = []
    for maker, (training, own) in needed.items():
        folder = kept.get(f"Workbench.{maker}")
        for name in own:
            if folder is None or CheckpointStore(folder / name).steps()[-1:] != [training.steps]:
                raise ParameterError(
                    f"{run} holds no finished {name} by this code at {profile.name}.",
                    f"Run `python -m okml.add --profile {profile.name} --run-dir {run}` first, "
                    "with --adopt if other code has trained them; or pass --train-networks.",
                )
        assert folder is not None
        _copy(folder, work / "training" / folder.name)
        names.append(folder.name)
    return names


def _copy(folder: Path, to: Path) -> None:
    """Copy a folder as a whole: after a kill it is there or not."""
    with held(to.parent):
        if not to.exists():
            unfinished = to.with_name(f"{to.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(folder, unfinished)
            unfinished.rename(to)


# ------------------------------------------------------------------ the measurement


def train(
    bench: Workbench, trial: Trial, seed: int, updates: int, points: int, rate: float = 1.0
) -> TrialRun:
    """Train the student of a trial, or load it, and return its curve.

    Args:
        bench: The networks of the kept run.
        trial: The trial.
        seed: The seed of the training and of the requests.
        updates: The number of updates.
        points: The number of points of the curve.
        rate: The factor on the student's learning rate.
    """
    every = max(1, updates // points)
    logged = min(LOGGED, every)
    recipe = bench.settings.add
    health = recipe.health.model_copy(update={"gradient_ratio_every": logged})
    arm = Arm(trial.name, trial.title, changes={**trial.changes, "health": health.model_dump()})
    settings = arm.settings(recipe, rate)
    teacher, requests, probes = bench.teacher(seed), bench.requests(seed), probes_of(bench, seed)
    _ = bench.networks(arm, seed), bench.judge  # loading them draws random numbers
    seed_everything(seed)
    student = make_student(teacher, settings.student_init)
    task = WatchedDistillation(bench, student, arm, settings, trial, requests, probes)
    # The settings of the recipe's own training, so that none of them can differ.
    training = bench._training(updates, seed).model_copy(
        update={"evaluate_every": every, "log_every": logged}
    )
    images = f"{bench.settings.images}{bench.settings.size}"
    folder = trainings_folder(bench, Workbench.distil) / "trials" / images / trial.name
    folder /= f"seed{seed}_rate{rate:g}_updates{updates}_points{points}"
    frame = fit(task, bench.examples(seed, arm), training, folder).frame
    return TrialRun(seed=seed, seconds=float(frame["seconds"][-1]), curve=curve_of(frame))


def curve_of(frame: pl.DataFrame) -> tuple[TrialPoint, ...]:
    """Return the points of a training's log."""
    points, before = [], 0
    ratio = "student/gradient_ratio"
    accuracies = ("real_seen", "drawn_seen", "real_unseen", "drawn_unseen")
    for row in frame.filter(pl.col("ema/fd").is_not_null()).iter_rows(named=True):
        since = frame.filter(pl.col("step") > before, pl.col("step") <= row["step"])
        known = since[ratio].drop_nulls().to_list() if ratio in frame.columns else []
        points.append(
            TrialPoint(
                updates=row["step"],
                fd=row["ema/fd"],
                fd_unaveraged=row["fd"],
                fd_slow=row["fd_slow"],
                gradient_ratio=statistics.median(known) if known else None,
                accuracy={name: row[name] for name in accuracies if row.get(name) is not None},
            )
        )
        before = row["step"]
    return tuple(points)


def measure(
    profile: AddProfile,
    settings: SetSettings,
    run: Path,
    work: Path,
    out: Path,
    *,
    seeds: Sequence[int] = (0, 1),
    names: Sequence[str] = (),
    updates: int | None = None,
    points: int = POINTS,
    rate: float = 1.0,
) -> AddTrials:
    """Train all trials that are not finished yet, and write the record after each.

    Args:
        profile: The profile of the kept run.
        settings: The image set.
        run: The folder of the kept run.
        work: The folder of the trials.
        out: The file of the record.
        seeds: The seeds of the trainings.
        names: Some of the trials; all if there are none.
        updates: The number of updates; None: twice those of the profile.
        points: The number of points of a curve.
        rate: The factor on the students' learning rate.

    Raises:
        ParameterError: If there is no such trial, or the run lacks a network.
    """
    known = trials_of(settings.add)
    if unknown := set(names) - known.keys():
        raise ParameterError(f"No trial {unknown.pop()!r}.", f"Trials: {', '.join(known)}.")
    updates = updates or LONGER * settings.distillation.steps
    networks = networks_of(profile, settings, run, work, seeds)
    bench = Workbench(profile, settings, work)
    teacher = {
        steps: tuple(bench.judged(TEACHER, steps, seed).quality.fd for seed in seeds)
        for steps in settings.teacher_steps
    }
    start = tuple(distance(bench, bench.teacher(seed), bench.requests(seed)) for seed in seeds)
    done: list[TrialResult] = []
    for trial in [known[name] for name in names or known]:
        taken = trial.times * updates, trial.times * points
        runs = tuple(train(bench, trial, seed, *taken, rate) for seed in seeds)
        done.append(
            TrialResult(name=trial.name, title=trial.title, changes=trial.differs, runs=runs)
        )
        print(f"{trial.title}: FD {mean_sd(done[-1].fd())}", flush=True)
        record = AddTrials.write(
            out,
            profile=profile.name,
            settings_sha256=profile.fingerprint(),
            images=settings.images,
            networks=networks,
            seeds=seeds,
            student_rate=rate,
            updates=updates,
            samples=settings.samples,
            teacher=teacher,
            start=start,
            trials=done,
        )
    return record


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="cpu")
    parser.add_argument("--set", dest="images", help="image set; without it the profile's first")
    parser.add_argument("--run", type=Path, help="folder of the kept run; by default its usual one")
    parser.add_argument(
        "--train-networks", action="store_true", help="train there what the run lacks"
    )
    parser.add_argument("--work", type=Path, help="where trials are kept; by default in _build")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--trials", nargs="+", default=[], metavar="NAME", help="all by default")
    parser.add_argument("--updates", type=int, help=f"{LONGER} times the profile's by default")
    parser.add_argument("--points", type=int, default=POINTS, help="points of each curve")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the student's rate")
    parser.add_argument("--threads", type=int, default=1)
    print(run_with(parser.parse_args()))


def run_with(arguments: argparse.Namespace) -> AddTrials:
    """Measure what the command line asks for.

    Raises:
        ParameterError: If the profile has no such image set, or as :func:`measure` says.
    """
    torch.set_num_threads(arguments.threads)
    profile = PROFILES[arguments.profile]
    sets = {settings.images: settings for settings in profile.sets}
    images = arguments.images or profile.main.images
    if images not in sets:
        raise ParameterError(f"No set {images!r} at {profile.name}.", f"Sets: {', '.join(sets)}.")
    run = arguments.run or run_dir(profile.chapter, profile.name)
    if arguments.train_networks:
        train_networks(profile, sets[images], run, arguments.seeds)
    return measure(
        profile,
        sets[images],
        run,
        arguments.work or build_dir() / "trials" / profile.chapter / profile.name,
        arguments.out,
        seeds=arguments.seeds,
        names=arguments.trials,
        updates=arguments.updates,
        points=arguments.points,
        rate=arguments.rate,
    )


if __name__ == "__main__":
    with report_errors():
        main()
