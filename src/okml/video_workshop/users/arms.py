"""The pre-trainings and recommenders that E2 and E7 compare."""

from __future__ import annotations

from dataclasses import replace

from okml.video_workshop.settings.users import Extra, LossWeights, UsersSettings
from okml.video_workshop.users.trainer import Arm, Base, Job

FURTHER_WEIGHT = 0.3  # of the items two and three steps ahead, where they are switched on


def the_base(settings: UsersSettings) -> Base:
    """Return the pre-training that recommenders build on."""
    return Base("base", settings.base, settings.pretraining)


def smaller_base(settings: UsersSettings) -> Base:
    """Return the pre-training of a smaller model, which the base is compared with."""
    return Base("smaller", settings.smaller, settings.pretraining)


def without_actions(settings: UsersSettings) -> Base:
    """Return the base with tokens that carry items and requests but no actions."""
    silent = settings.base.model_copy(update={"actions": False})
    return replace(the_base(settings), name="no_actions", model=silent)


def variant(settings: UsersSettings, extra: Extra) -> Base:
    """Return the base with one thing changed; the base itself if the ablation changes no base."""
    base, how = the_base(settings), settings.pretraining
    match extra:
        case "shuffled":
            return replace(base, name=extra, shuffled=True)
        case "further" | "single":
            weight = FURTHER_WEIGHT if extra == "further" else 0.0
            weights = how.weights.model_copy(update={"multi": weight})
            return replace(
                base, name=extra, pretraining=how.model_copy(update={"weights": weights})
            )
        case "item_alone":
            weights = how.weights.model_copy(update={"action": 0.0, "genre": 0.0})
            return replace(
                base, name=extra, pretraining=how.model_copy(update={"weights": weights})
            )
        case "intents" | "intents_free":
            model = settings.base.model_copy(update={"intents": True})
            weights = how.weights.model_copy(update={"intents": float(extra == "intents")})
            how = how.model_copy(update={"weights": weights})
            return replace(base, name=extra, model=model, pretraining=how)
        case "latest":
            return replace(
                base, name=extra, pretraining=how.model_copy(update={"windows": "latest"})
            )
        case "interleaved":
            model = settings.base.model_copy(update={"tokens": "interleaved"})
            return replace(base, name=extra, model=model)
        case "lora" | "untrained" | "consolidated":
            return base


def frozen_pair(settings: UsersSettings, base: Base, untrained: bool = False) -> tuple[Arm, Arm]:
    """Return retrieval and ranking on a frozen base, by which bases are compared."""
    share = settings.label_share
    return (
        Arm("retrieval", base, "frozen", share, untrained),
        Arm("ranking", base, "frozen", share, untrained),
    )


def mode_arms(settings: UsersSettings) -> list[Arm]:
    """Return retrieval and ranking in every mode on the base, trained on few labels.

    Modes that train all weights are also trained on the labels of all users, where a base may not
    help.
    """
    base = the_base(settings)
    return [
        Arm(task, base, mode, share)
        for mode in settings.modes
        for share in (settings.label_share, *([1.0] if mode in ("scratch", "full") else []))
        for task in ("retrieval", "ranking")
    ]  # fmt: skip


def reuse_jobs(settings: UsersSettings, seeds: tuple[int, ...]) -> list[Job]:
    """Return every training of E2."""
    first, share, base = seeds[0], settings.label_share, the_base(settings)
    jobs: list[Job] = [(arm, seed) for arm in mode_arms(settings) for seed in seeds]
    for other in (smaller_base(settings), without_actions(settings)):
        jobs += [(arm, seed) for arm in frozen_pair(settings, other) for seed in seeds]
    for extra in settings.extras:
        if extra == "lora":
            jobs += [(Arm(task, base, "lora", share), first) for task in ("retrieval", "ranking")]
        elif extra == "consolidated":
            jobs.append((Arm("consolidated", base, "full", share), first))
        else:
            changed = variant(settings, extra)
            arms = frozen_pair(settings, changed, untrained=extra == "untrained")
            jobs += [(arm, seed) for arm in arms for seed in seeds_of(extra, seeds)]
    return jobs


def seeds_of(extra: Extra, seeds: tuple[int, ...]) -> tuple[int, ...]:
    """Return the seeds of an ablation: all if it decides a claim, else the first one."""
    return seeds if extra in ("shuffled", "intents", "intents_free") else seeds[:1]


def scaling_grid(settings: UsersSettings) -> list[Base]:
    """Return the pre-trainings of E7, smallest model first: equal steps, only the item loss."""
    scaling = settings.scaling
    how = settings.pretraining.model_copy(
        update={"steps": scaling.steps, "weights": LossWeights(action=0, multi=0, genre=0)}
    )
    return [
        Base(
            f"scaling_{width}_{layers}",
            settings.base.model_copy(update={"width": width, "layers": layers}),
            how,
            share=share,
        )
        for width, layers in scaling.models
        for share in scaling.shares
    ]
