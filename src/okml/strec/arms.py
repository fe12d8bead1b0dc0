"""The compared recommenders and their trainings, stated once.

Each table has one list of jobs: the step that makes the table loops over it, and training ahead,
the plan and the count of trainings read their union, :func:`all_jobs`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.encoder import Encoder
from okml.seqrec.mixers import MIXERS, MixerName
from okml.strec.model import STRec
from okml.strec.prefixes import PrefixBackbone
from okml.strec.references import REFERENCES
from okml.strec.sampler import SamplerSettings
from okml.strec.schedule import Schedule
from okml.strec.settings import DataSettings, Recipe, StrecProfile, WindowSettings

# rows: one target after each history, in STRec's two stages. windows: a target at every position
# of a window, by the settings ``causal``. warm start: at every position after a prefix, by the
# settings ``warm_start``.
Training = Literal["rows", "windows", "warm start"]


@dataclass(frozen=True)
class Arm:
    """One recommender of the comparison.

    Attributes:
        name: A name that is unique within one data set and recipe.
        schedule: The number of items that each layer keeps; None for the backbone, which keeps
            all.
        sampler: The ranking of items by which a schedule keeps them; None without a schedule.
        length: The number of newest items in the input; None for the whole window.
        mixer: The name of the token mixer.
        distilling: Whether Informer's distilling layers follow the mixer's layers.
        training: The examples and settings of the training.
        layers: The number of layers of a causal SASRec; None for other arms.
    """

    name: str
    schedule: Schedule | None = None
    sampler: SamplerSettings | None = None
    length: int | None = None
    mixer: MixerName = "attention"
    distilling: bool = False
    training: Training = "rows"
    layers: int | None = None

    @property
    def learns_sample(self) -> bool:
        """Whether the arm has a learned sampler, which stage 1 trains."""
        return self.sampler is not None and self.sampler.is_learned


BACKBONE = Arm("backbone")
WARM_START = Arm("warm start of all arms", training="warm start")
CAUSAL = "causal SASRec"  # the name of the arm with the first number of layers


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        data: The settings of the data set.
        arm: The recommender to train.
        seed: The seed of weights outside of the warm start, of order and of dropout.
        recipe: The recipe of the training.
        epochs: The largest number of epochs of stage 1 and stage 2; None for the recipe's.
        rate: The learning rate; None for the best of its settings' on validation.
        stays_soft: Whether the epochs of stage 2, too, train the soft sample of stage 1.
        rate_of: The arm for which an open rate is chosen; None for the job's own.
    """

    data: DataSettings
    arm: Arm
    seed: int
    recipe: Recipe
    epochs: tuple[int, int] | None = None
    rate: float | None = None
    stays_soft: bool = False
    rate_of: Arm | None = None

    @property
    def stages(self) -> tuple[int, int]:
        """The largest number of epochs of stage 1 and stage 2.

        Arms without a learned sample take the epochs of both stages in stage 2, so that all arms
        take the same number of steps.
        """
        relaxed, hard = self.epochs or (self.recipe.relaxed_epochs, self.recipe.hard_epochs)
        return (relaxed, hard) if self.arm.learns_sample else (0, relaxed + hard)

    @property
    def whole(self) -> Job:
        """The training of the same arm through both stages, with a rate of its own choice."""
        return replace(self, epochs=None, rate=None, stays_soft=False, rate_of=None)


def warm_start(profile: StrecProfile, job: Job) -> Job | None:
    """Return the training from whose weights a job starts, one for all recipes; None if none."""
    if job.arm.training != "rows" or job.recipe.from_scratch:
        return None
    return Job(job.data, WARM_START, job.seed, profile.recipe)


def sampled(name: str, data: DataSettings, recipe: Recipe) -> Arm:
    """Return STRec (``strec``), or a control with the same schedule and another ranking.

    Raises:
        ParameterError: If ``name`` is not a known ranking.
    """
    learned = recipe.sampler.model_copy(update={"activation": data.activation})
    changes: dict[str, dict[str, object]] = {
        "strec": {},
        "recency": {"ranking": "recency"},
        "random": {"ranking": "random"},
        "position": {"ranking": "position"},  # the paper's STRec-3
        "content": {"ranking": "content"},
        "uniform": {"ranking": "uniform"},
        "no_noise": {"noise": "none"},  # the paper's STRec-1
        "mirrored": {"mirrored": True},
        "shuffled": {"shuffled": True},
        "mirrored, shuffled": {"mirrored": True, "shuffled": True},
    }
    if name not in changes:
        raise ParameterError(f"There is no ranking {name!r}.", f"Known: {', '.join(changes)}.")
    return Arm(name, data.schedule, learned.model_copy(update=changes[name]))


def rescheduled(name: str, schedule: Schedule, data: DataSettings, recipe: Recipe) -> Arm:
    """Return :func:`sampled` with another schedule; with the data's own it is the same arm."""
    arm = sampled(name, data, recipe)
    if schedule == data.schedule:
        return arm
    return replace(arm, name=f"{name} {'-'.join(map(str, schedule))}", schedule=schedule)


def quality_arms(profile: StrecProfile, data: DataSettings) -> list[Arm]:
    """Return the arms of the main comparison, with equal warm start, data and number of steps."""
    recipe = profile.recipe
    rankings = ("strec", "recency", "random", *profile.extra_rankings)
    return [
        BACKBONE,
        *(sampled(name, data, recipe) for name in rankings),
        *short_arms(data),
    ]


def short_arms(data: DataSettings) -> list[Arm]:
    """Return the backbones that read only the newest items, the shortest first."""
    return [Arm(f"newest {length}", length=length) for length in sorted(data.short_lengths)]


def mixer_arms(profile: StrecProfile) -> list[Arm]:
    """Return the backbone with each efficient mixer in place of attention.

    The recommender of the paper that proposed a mixer may be a reference with the mixer's name.
    """
    arms = [
        Arm(f"{mixer}, bidirectional" if mixer in REFERENCES else mixer, mixer=mixer)
        for mixer in profile.mixers
    ]
    if "informer" in profile.mixers:
        arms.append(Arm("informer, distilling", mixer="informer", distilling=True))
    return arms


def causal_arms(profile: StrecProfile) -> list[Arm]:
    """Return SASRec with its authors' training, for each number of layers."""
    first, *others = profile.causal.layers
    return [
        Arm(CAUSAL, training="windows", layers=first),
        *(Arm(f"{CAUSAL}, {n} layers", training="windows", layers=n) for n in others),
    ]


def jobs_of(
    data: DataSettings, arms: Iterable[Arm], seeds: Iterable[int], recipe: Recipe
) -> list[Job]:
    """Return the jobs of some arms, each with all seeds."""
    seeds = tuple(seeds)
    return [Job(data, arm, seed, recipe) for arm in arms for seed in seeds]


def quality_jobs(profile: StrecProfile, data: DataSettings) -> list[Job]:
    """Return the jobs of the main comparison on one data set, each arm with all seeds."""
    references = [Arm(name, training="windows") for name in profile.references]
    arms = [*quality_arms(profile, data), *causal_arms(profile), *references]
    return jobs_of(data, arms, profile.seeds, profile.recipe)


def literature_job(profile: StrecProfile) -> Job:
    """Return causal SASRec with the events of one second in the order of the file, one seed."""
    data = profile.main.model_copy(update={"tie_rule": "file"})
    return Job(data, causal_arms(profile)[0], profile.seeds[0], profile.recipe)


def recipe_jobs(profile: StrecProfile, recipe: Recipe) -> list[Job]:
    """Return backbone and STRec with a recipe, ours or the authors'."""
    arms = (BACKBONE, sampled("strec", profile.main, recipe))
    return jobs_of(profile.main, arms, profile.seeds, recipe)


def same_rate_jobs(profile: StrecProfile) -> list[Job]:
    """Return STRec, and the random sample and the newest items at the rate chosen for STRec."""
    main, recipe = profile.main, profile.recipe
    arms = [sampled(name, main, recipe) for name in ("strec", "random", "recency")]
    jobs, ours = jobs_of(main, arms, profile.seeds, recipe), arms[0]
    if len(recipe.learning_rates) == 1:
        return jobs
    return [job if job.arm == ours else replace(job, rate_of=ours) for job in jobs]


def mixer_jobs(profile: StrecProfile) -> list[Job]:
    """Return the backbone and its efficient replacements of attention, with one seed."""
    arms = (BACKBONE, *mixer_arms(profile))
    return jobs_of(profile.main, arms, profile.seeds[:1], profile.recipe)


def sweep_jobs(profile: StrecProfile) -> list[Job]:
    """Return the backbone, short inputs, and STRec with every schedule.

    All schedules rank by recency, and some also by a learned sample.
    """
    main, recipe = profile.main, profile.recipe
    learned = [rescheduled("strec", schedule, main, recipe) for schedule in profile.sweep_learned]
    arms = [BACKBONE, *short_arms(main), *recency_arms(profile), *learned]
    return jobs_of(main, arms, profile.seeds, recipe)


def recency_arms(profile: StrecProfile) -> list[Arm]:
    """Return STRec with each schedule of the sweep by recency; all rankings cost the same."""
    return [
        rescheduled("recency", schedule, profile.main, profile.recipe) for schedule in profile.sweep
    ]


def stage_jobs(profile: StrecProfile, seed: int) -> dict[str, Job]:
    """Return STRec with other epochs of the two stages, by the name in the table."""
    recipe = profile.recipe
    relaxed, hard = recipe.relaxed_epochs, recipe.hard_epochs
    both = Job(profile.main, sampled("strec", profile.main, recipe), seed, recipe)
    return {
        "both stages": both,
        "after stage 1": replace(both, epochs=(relaxed, 0)),
        "stage 1 for all epochs": replace(both, stays_soft=True),
        **{
            f"C = {count}": both if count == relaxed else replace(both, epochs=(count, hard))
            for count in profile.relaxed_epoch_sweep
        },
    }


# By what is measured: the arms whose samplers start from mirror images of each other.
STARTS = {"learned": ("strec", "mirrored"), "shuffled": ("shuffled", "mirrored, shuffled")}


def curve_job(profile: StrecProfile, name: str, seed: int) -> Job:
    """Return the training of a sampler whose curve is measured: stage 1, which alone trains it.

    Samplers have a rate of their own, so that of the other weights is chosen for STRec alone.
    """
    if name == "strec":
        return stage_jobs(profile, seed)["after stage 1"]
    arm, recipe = sampled(name, profile.main, profile.recipe), profile.recipe
    rate = recipe.learning_rates[0]
    return Job(profile.main, arm, seed, recipe, epochs=(recipe.relaxed_epochs, 0), rate=rate)


def trained_by(profile: StrecProfile, job: Job) -> Recipe | WindowSettings:
    """Return the settings of a training."""
    if job.arm.training == "rows":
        return job.recipe
    return profile.causal if job.arm.training == "windows" else profile.warm_start


def tries(profile: StrecProfile, job: Job) -> list[Job]:
    """Return the trainings of the first seed that choose the learning rate of a job.

    They are whole trainings: an arm has one rate, however far it is trained.
    """
    whole = replace(job.whole, arm=job.rate_of or job.arm, seed=profile.seeds[0])
    return [replace(whole, rate=rate) for rate in trained_by(profile, job).learning_rates]


def all_jobs(profile: StrecProfile) -> list[Job]:
    """Return every training of a run of the profile but warm starts, the slow ones first."""
    jobs = [*mixer_jobs(profile), literature_job(profile)]
    for data in profile.datasets:
        jobs += quality_jobs(profile, data)
    for recipe in profile.recipes:
        jobs += recipe_jobs(profile, recipe)
    jobs += [*sweep_jobs(profile), *same_rate_jobs(profile)]
    for seed in profile.seeds:
        jobs += stage_jobs(profile, seed).values()
        jobs += [curve_job(profile, name, seed) for names in STARTS.values() for name in names]
    return sorted(dict.fromkeys(jobs), key=lambda job: job.arm.training == "rows")


def build(
    arm: Arm, items: int, profile: StrecProfile, data: DataSettings, recipe: Recipe
) -> Encoder:
    """Build the encoder of an arm.

    A gated unit (FLASH, HSTU) replaces attention and feed-forward network and reads normalized
    tokens, as in its paper. Two units have about as many parameters as a layer of the backbone.

    Args:
        arm: The arm to build.
        items: Number of items, numbered from 1.
        profile: The settings of the run.
        data: The settings of the data set.
        recipe: The recipe, whose relaxation defines the soft mask of stage 1.
    """
    if arm.name in REFERENCES:
        return REFERENCES[arm.name].build(items, data.length)
    if arm.layers is not None:
        return Backbone(items, profile.sasrec(data, arm.layers))
    settings = profile.backbone(data, recipe)
    if arm.schedule is not None and arm.sampler is not None:
        return STRec(items, settings, arm.schedule, arm.sampler, recipe.relaxation)
    if arm == WARM_START:
        return PrefixBackbone(items, settings.model_copy(update={"causal": True}))
    changes: dict[str, Any] = {"mixer": arm.mixer, "distilling": arm.distilling}
    if MIXERS[arm.mixer].replaces_feed_forward:
        changes |= {"hidden": None, "layers": 2 * settings.layers, "norm": "pre"}
    return Backbone(items, settings.model_copy(update=changes))


def start_from(encoder: Encoder, weights: dict[str, Tensor]) -> float:
    """Copy every weight with the same name and shape; return the share of copied weights, 0 to 1.

    Encoders with another mixer share only the embedding and the feed-forward networks.

    Args:
        encoder: The encoder whose weights are overwritten.
        weights: The state of another encoder, by the names of its weights.
    """
    own = encoder.state_dict()
    shared = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    encoder.load_state_dict(shared, strict=False)
    return _size(shared) / _size(own)


def _size(weights: dict[str, Tensor]) -> int:
    return sum(value.numel() for value in weights.values())
