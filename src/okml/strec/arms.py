"""The compared encoders, each as its differences from the backbone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from okml.errors import ParameterError
from okml.seqrec.backbone import Backbone
from okml.seqrec.mixers import AttentionSettings, MixerSettings
from okml.seqrec.settings import BackboneSettings
from okml.strec.model import STRec
from okml.strec.sampler import SamplerSettings
from okml.strec.schedule import Schedule
from okml.strec.settings import DataSettings, Recipe, StrecProfile


@dataclass(frozen=True)
class Arm:
    """One encoder of the comparison.

    Attributes:
        name: A name that is unique within one data set and recipe.
        schedule: The number of items that each layer keeps; None for the backbone, which keeps
            all.
        sampler: The ranking of items by which a schedule keeps them; None without a schedule.
        length: The number of newest items in the input; None for the whole window.
        mixer: The token mixer; None for attention.
        distilling: Whether Informer's distilling layers follow the mixer's layers.
    """

    name: str
    schedule: Schedule | None = None
    sampler: SamplerSettings | None = None
    length: int | None = None
    mixer: MixerSettings | None = None
    distilling: bool = False

    @property
    def learns_sample(self) -> bool:
        """Whether the arm has a learned sampler, which stage 1 trains."""
        return self.sampler is not None and self.sampler.is_learned


BACKBONE = Arm("backbone")


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
        "no_noise": {"noise": "none"},  # the paper's STRec-1
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
        *(Arm(f"newest {length}", length=length) for length in data.short_lengths),
    ]


def mixer_arms(profile: StrecProfile) -> list[Arm]:
    """Return the backbone with each efficient mixer in place of attention."""
    arms = [Arm(mixer.kind, mixer=mixer) for mixer in profile.mixers]
    informers = [arm for arm in arms if arm.name == "informer"]
    if profile.distilling:
        arms += [Arm("informer, distilling", mixer=arm.mixer, distilling=True) for arm in informers]
    return arms


def build(arm: Arm, items: int, settings: BackboneSettings, recipe: Recipe) -> Backbone:
    """Build the encoder of an arm.

    Args:
        arm: The arm to build.
        items: Number of items, numbered from 1.
        settings: The settings of the backbone.
        recipe: The recipe, whose relaxation defines the soft mask of stage 1.
    """
    if arm.schedule is not None and arm.sampler is not None:
        return STRec(items, settings, arm.schedule, arm.sampler, recipe.relaxation)
    mixer = arm.mixer or AttentionSettings()
    changes = {"mixer": mixer, "distilling": arm.distilling}
    return Backbone(items, BackboneSettings(**dict(settings) | changes))


def start_from(encoder: Backbone, weights: dict[str, Tensor]) -> float:
    """Copy every weight with the same name and shape; return the share of copied weights.

    Encoders with another mixer share only the embedding and the feed-forward networks.
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
