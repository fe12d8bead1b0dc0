"""The trainings of the theme, by the tables that show them: user models and recommenders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from okml.kept import distinct
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.settings.users import (
    Ablation,
    Mode,
    UserModelSettings,
    UserPretrainingSettings,
    UsersSettings,
    UserTable,
)

RecommenderTask = Literal["retrieval", "ranking"]
BOTH: tuple[RecommenderTask, ...] = ("retrieval", "ranking")
ALL_LABELS = ", all labels"  # suffix of an arm's name
SINGLE_TASK = "single task"
NO_ACTIONS = "no action tokens"
FOR_LONGER = "smaller, twice the steps"
# The item representations of the ablations that change nothing else.
TABLES: dict[Ablation, UserTable] = {
    "content": "hybrid_content", "content_sum": "content_sum", "semantic_ids": "hybrid_sid",
    "rows": "id",
}  # fmt: skip


@dataclass(frozen=True)
class Base:
    """The configuration of one pre-training.

    Attributes:
        name: Name of the folder, unique together with the other fields.
        table: Name of the item representation.
        shuffled: Whether each event is read with the action of another one, as a control; the
            actions that are predicted are the true ones.
    """

    name: str
    model: UserModelSettings
    pretraining: UserPretrainingSettings
    table: UserTable = "id"
    shuffled: bool = False


@dataclass(frozen=True)
class UserArm:
    """The configuration of one recommender on a user model.

    Attributes:
        base: Pre-training of the user model; the mode scratch uses its sizes only.
        mode: Mode of transfer from the base.
        share: Share of the users whose labels it is trained on.
    """

    task: RecommenderTask
    base: Base
    mode: Mode
    share: float = 1.0


@dataclass(frozen=True)
class UserJob:
    """One training: a pre-training, or a recommender with the pre-training that it needs."""

    what: Base | UserArm
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
    job: UserJob


def the_base(settings: UsersSettings) -> Base:
    """Return the pre-training that recommenders build on."""
    return Base("base", settings.base, settings.pretraining, settings.table)


def smaller_base(settings: UsersSettings) -> Base:
    """Return the pre-training of a smaller model, which the base is compared with."""
    return replace(the_base(settings), name="smaller", model=settings.smaller)


def smaller_for_longer(settings: UsersSettings) -> Base:
    """Return the smaller base, pre-trained for twice as many steps."""
    steps = 2 * settings.pretraining.steps
    how = settings.pretraining.model_copy(update={"steps": steps})
    return replace(smaller_base(settings), name="smaller_for_longer", pretraining=how)


def without_actions(settings: UsersSettings) -> Base:
    """Return the base with tokens that carry items and requests but no actions."""
    silent = settings.base.model_copy(update={"actions": False})
    return replace(the_base(settings), name="no_actions", model=silent)


def changed(settings: UsersSettings, ablation: Ablation) -> Base:
    """Return the base with one thing changed."""
    base, weights = the_base(settings), settings.pretraining.weights
    match ablation:
        case "shuffled":
            return replace(base, name=ablation, shuffled=True)
        case "content" | "content_sum" | "semantic_ids" | "rows":
            return replace(base, name=ablation, table=TABLES[ablation])
        case "item_alone":
            weights = weights.model_copy(update={"action": 0.0, "genre": 0.0})
        case "intents" | "intents_free":
            weights = weights.model_copy(update={"intents": float(ablation == "intents")})
            base = replace(base, model=settings.base.model_copy(update={"intents": True}))
    how = settings.pretraining.model_copy(update={"weights": weights})
    return replace(base, name=ablation, pretraining=how)


def frozen(settings: UsersSettings, task: RecommenderTask, base: Base) -> UserArm:
    """Return a recommender on a frozen base, by which bases are compared."""
    return UserArm(task, base, "frozen", settings.label_share)


def reuse_rows(profile: VideoWorkshopProfile) -> list[TableRow]:
    """Return retrieval and ranking in every mode on the base, trained on few labels.

    Modes that train all weights are also trained on the labels of all users, where a base may not
    help, and on a base that was pre-trained to predict the next item alone.
    """
    settings = profile.users
    base, few = the_base(settings), settings.label_share
    single = changed(settings, "item_alone")
    modes: tuple[tuple[str, Mode, Base, float], ...] = (
        ("scratch", "scratch", base, few), (f"scratch{ALL_LABELS}", "scratch", base, 1.0),
        ("frozen", "frozen", base, few),
        (SINGLE_TASK, "full", single, few), (f"{SINGLE_TASK}{ALL_LABELS}", "full", single, 1.0),
        ("full", "full", base, few), (f"full{ALL_LABELS}", "full", base, 1.0),
    )  # fmt: skip
    return [
        TableRow(name, UserJob(UserArm(task, start, mode, share), seed))
        for name, mode, start, share in modes
        if share < 1 or settings.downstream.steps_all_labels
        for task in BOTH
        for seed in profile.seeds
    ]


def size_rows(profile: VideoWorkshopProfile) -> list[TableRow]:
    """Return recommenders on the smaller base, on it after twice the steps, and on the base."""
    settings = profile.users
    bases = {
        "smaller": smaller_base(settings),
        FOR_LONGER: smaller_for_longer(settings),
        "base": the_base(settings),
    }
    return [row for name, base in bases.items() for row in _on(profile, name, base)]


def ablation_rows(profile: VideoWorkshopProfile) -> list[TableRow]:
    """Return recommenders on the base, on the base without actions, and on its ablations.

    Item representations are compared in every task, what a base reads and predicts in retrieval.
    """
    settings = profile.users
    rows = [*_on(profile, "base", the_base(settings))]
    rows += _on(profile, NO_ACTIONS, without_actions(settings), ("retrieval",))
    for ablation in settings.ablations:
        tasks: tuple[RecommenderTask, ...] = BOTH if ablation in TABLES else ("retrieval",)
        rows += _on(profile, ablation, changed(settings, ablation), tasks)
    return rows


def all_jobs(profile: VideoWorkshopProfile) -> list[UserJob]:
    """Return every training of the theme once, without the pre-trainings that they need."""
    tables = (reuse_rows(profile), size_rows(profile), ablation_rows(profile))
    return list(dict.fromkeys(row.job for rows in tables for row in rows))


def needs_of(job: UserJob) -> list[UserJob]:
    """Return the pre-training that a recommender starts from."""
    what = job.what
    if isinstance(what, Base) or what.mode == "scratch":
        return []
    return [UserJob(what.base, job.seed)]


def _on(
    profile: VideoWorkshopProfile,
    name: str,
    base: Base,
    tasks: tuple[RecommenderTask, ...] = BOTH,
) -> Iterator[TableRow]:
    """Yield the recommenders of some tasks on a frozen base, with each seed."""
    for seed in profile.seeds:
        for task in tasks:
            yield TableRow(name, UserJob(frozen(profile.users, task, base), seed))
