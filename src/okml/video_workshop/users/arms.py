"""The trainings of the theme, by the tables that show them: user models and recommenders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from okml.kept import distinct
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.users import (
    Extra,
    LossWeights,
    Mode,
    UserModelSettings,
    UserPretrainingSettings,
    UsersSettings,
    UserTable,
)

FURTHER_WEIGHT = 0.3  # of the items two and three steps ahead, where they are switched on
ALL_LABELS = ", all labels"  # suffix of an arm's name
DECISIVE: tuple[Extra, ...] = ("shuffled", "intents", "intents_free")  # with every seed


@dataclass(frozen=True)
class Base:
    """The configuration of one pre-training.

    Attributes:
        name: Name of the folder, unique together with the other fields.
        table: Item representation.
        shuffled: Whether each event has the action of another event, as a control.
        share: Share of the users that are trained on.
    """

    name: str
    model: UserModelSettings
    pretraining: UserPretrainingSettings
    table: UserTable = "id"
    shuffled: bool = False
    share: float = 1.0


@dataclass(frozen=True)
class Arm:
    """The configuration of one recommender on a user model.

    Attributes:
        base: Pre-training of the user model; the mode scratch uses its sizes only.
        mode: Mode of transfer from the base.
        share: Share of the users whose labels it is trained on.
        untrained: Whether the base keeps its random weights, as a control.
    """

    task: Literal["retrieval", "ranking", "consolidated"]
    base: Base
    mode: Mode
    share: float = 1.0
    untrained: bool = False


@dataclass(frozen=True)
class Job:
    """One training: a pre-training, or a recommender with the pre-training that it needs."""

    what: Base | Arm
    seed: int

    @property
    def name(self) -> str:
        """Name of the training's folder, unique to the settings."""
        what = self.what
        name = what.name if isinstance(what, Base) else f"{what.task}_{what.mode}_{what.base.name}"
        return f"{distinct(name, what)}_{self.seed}"


class TableRow(NamedTuple):
    """A job and the name of its row in a table."""

    name: str
    job: Job


def the_base(settings: UsersSettings) -> Base:
    """Return the pre-training that recommenders build on."""
    return Base("base", settings.base, settings.pretraining, settings.table)


def smaller_base(settings: UsersSettings) -> Base:
    """Return the pre-training of a smaller model, which the base is compared with."""
    return Base("smaller", settings.smaller, settings.pretraining, settings.table)


def without_actions(settings: UsersSettings) -> Base:
    """Return the base with tokens that carry items and requests but no actions."""
    silent = settings.base.model_copy(update={"actions": False})
    return replace(the_base(settings), name="no_actions", model=silent)


def variant(settings: UsersSettings, extra: Extra) -> Base:
    """Return the base with one thing changed; the base itself if the ablation changes no base."""
    model, how, shuffled = settings.base, settings.pretraining, extra == "shuffled"
    weights = how.weights
    match extra:
        case "further" | "single":
            weights = weights.model_copy(
                update={"multi": FURTHER_WEIGHT if extra == "further" else 0.0}
            )
        case "item_alone":
            weights = weights.model_copy(update={"action": 0.0, "genre": 0.0})
        case "intents" | "intents_free":
            model = model.model_copy(update={"intents": True})
            weights = weights.model_copy(update={"intents": float(extra == "intents")})
        case "latest":
            how = how.model_copy(update={"windows": "latest"})
        case "interleaved":
            model = model.model_copy(update={"tokens": "interleaved"})
        case "lora" | "untrained" | "consolidated":
            return the_base(settings)
    return Base(extra, model, how.model_copy(update={"weights": weights}), settings.table, shuffled)


def frozen_pair(settings: UsersSettings, base: Base, untrained: bool = False) -> tuple[Arm, Arm]:
    """Return retrieval and ranking on a frozen base, by which bases are compared."""
    share = settings.label_share
    return (
        Arm("retrieval", base, "frozen", share, untrained),
        Arm("ranking", base, "frozen", share, untrained),
    )


def reuse_rows(profile: VideoWorkshopProfile) -> list[TableRow]:
    """Return retrieval and ranking in every mode on the base, trained on few labels.

    Modes that train all weights are also trained on the labels of all users, where a base may not
    help.
    """
    settings, seeds = profile.users, profile.seeds
    base, share, first = the_base(settings), settings.label_share, seeds[0]
    rows = []
    for mode in settings.modes:
        whole = [(1.0, ALL_LABELS)] if mode in ("scratch", "full") else []
        for labels, suffix in ((share, ""), *whole):
            for task in ("retrieval", "ranking"):
                arm = Arm(task, base, mode, labels)
                rows += [TableRow(f"{mode}{suffix}", Job(arm, seed)) for seed in seeds]
    if "lora" in settings.extras:
        arms = (Arm("retrieval", base, "lora", share), Arm("ranking", base, "lora", share))
        rows += [TableRow("lora", Job(arm, first)) for arm in arms]
    if "untrained" in settings.extras:
        arms = frozen_pair(settings, base, untrained=True)
        rows += [TableRow("frozen, untrained", Job(arm, first)) for arm in arms]
    if "consolidated" in settings.extras:
        rows.append(TableRow("consolidated", Job(Arm("consolidated", base, "full", share), first)))
    return rows


def size_rows(profile: VideoWorkshopProfile) -> list[TableRow]:
    """Return recommenders on the smaller base and on the base."""
    settings, seeds = profile.users, profile.seeds
    smaller = _on(profile, "smaller", smaller_base(settings), seeds)
    return smaller + _on(profile, "base", the_base(settings), seeds)


def ablation_rows(profile: VideoWorkshopProfile) -> list[TableRow]:
    """Return recommenders on the base, on the base without actions, and on its other variants."""
    settings, seeds = profile.users, profile.seeds
    rows = _on(profile, "base", the_base(settings), seeds)
    rows += _on(profile, "no action tokens", without_actions(settings), seeds)
    for extra in settings.extras:
        if extra not in ("lora", "consolidated", "untrained"):
            of = seeds if extra in DECISIVE else seeds[:1]
            rows += _on(profile, extra, variant(settings, extra), of)
    return rows


def scaling_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return the pre-trainings of E7, smallest model first: equal steps, only the item loss."""
    settings, scaling = profile.users, profile.users.scaling
    how = settings.pretraining.model_copy(
        update={"steps": scaling.steps, "weights": LossWeights(action=0, multi=0, genre=0)}
    )
    return [
        Job(
            Base(
                f"scaling_{width}_{layers}",
                settings.base.model_copy(update={"width": width, "layers": layers}),
                how,
                settings.table,
                share=share,
            ),
            profile.seeds[0],
        )
        for width, layers in scaling.models
        for share in scaling.shares
    ]


def all_jobs(profile: VideoWorkshopProfile) -> list[Job]:
    """Return every training of the theme once, without the pre-trainings that they need."""
    tables = (reuse_rows(profile), size_rows(profile), ablation_rows(profile))
    jobs = [row.job for rows in tables for row in rows]
    return list(dict.fromkeys([*jobs, *scaling_jobs(profile)]))


def needs_of(job: Job) -> list[Job]:
    """Return the pre-training that a recommender starts from."""
    what = job.what
    if isinstance(what, Base) or what.mode == "scratch" or what.untrained:
        return []
    return [Job(what.base, job.seed)]


def _on(
    profile: VideoWorkshopProfile, name: str, base: Base, seeds: Iterable[int]
) -> list[TableRow]:
    """Return retrieval and ranking on a frozen base, with each seed."""
    pair = frozen_pair(profile.users, base)
    return [TableRow(name, Job(arm, seed)) for seed in seeds for arm in pair]
