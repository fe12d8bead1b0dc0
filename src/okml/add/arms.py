"""The arms of the ablation, each one change of the default, and the jobs of all trainings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from okml.add.settings import AddSettings

if TYPE_CHECKING:
    from okml.add.profile_settings import AddProfile, SetSettings


@dataclass(frozen=True)
class Arm:
    """One distillation.

    Attributes:
        name: The name in the profile.
        title: The name in tables and figures.
        part: The part of the paper's Table 1; empty for checks of ours.
        changes: The fields of ``AddSettings`` that differ from the default.
        random_features: Whether the feature network keeps its random weights.
        blind: Whether the prompt is hidden from student, teacher and heads.
        decays: Whether learning rates fall linearly to zero over the updates.
    """

    name: str
    title: str
    part: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    random_features: bool = False
    blind: bool = False
    decays: bool = False

    def settings(
        self, default: AddSettings, rate: float = 1.0, updates: int | None = None
    ) -> AddSettings:
        """Return the settings of this arm.

        Args:
            default: The settings of the default arm.
            rate: The factor on the student's learning rate.
            updates: The number of updates, over which rates that decay do so.
        """
        own = AddSettings.model_validate({**default.model_dump(), **self.changes})
        decay = {"decay_steps": updates if self.decays else None}
        student, heads = own.student_optimizer, own.head_optimizer
        faster = {"learning_rate": rate * student.learning_rate}
        return own.model_copy(
            update={
                "student_optimizer": student.model_copy(update=faster | decay),
                "head_optimizer": heads.model_copy(update=decay),
            }
        )


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("default", "default: both losses, text and image"),
        Arm(
            "image_kept_at_noise", "c_img kept at pure noise, as printed",
            changes={"image_condition_at_pure_noise": "keep"},
        ),
        Arm("random_features", "random feature network", "a", random_features=True),
        Arm(
            "no_condition", "discriminator without conditions", "b",
            {"condition_text": False, "condition_image": False},
        ),
        Arm("text_only", "discriminator told the text alone", "b", {"condition_image": False}),
        Arm("image_only", "discriminator told the image alone", "b", {"condition_text": False}),
        Arm("random_student", "student from random weights", "c", {"student_init": "random"}),
        Arm("adversarial_only", "adversarial loss alone", "d", {"distillation": "none"}),
        Arm("distillation_only", "distillation loss alone", "d", {"adversarial": False}),
        Arm(
            "summed_distance", "distance summed over pixels, as Eq. 4 is printed", "",
            {"distillation_reduction": "sum"},
        ),
        Arm("decayed", "learning rates that fall to zero", decays=True),
        Arm("sds", "weights of score distillation (SDS)", "d", {"distillation": "sds"}),
        Arm("nfsd", "noise-free score distillation (NFSD)", "d", {"distillation": "nfsd"}),
        Arm("four_teacher_steps", "four teacher steps", "f", {"teacher_steps": 4}),
        Arm("blind", "prompt hidden from everyone", changes={"condition_text": False}, blind=True),
    )
}  # fmt: skip
ALTERNATIVES = ("consistency", "progressive")  # other distillations from the same teacher
SHOWN_BESIDE_TEACHER = ("default", "adversarial_only", "distillation_only")
RIVALS = ("adversarial_only", "distillation_only", *ALTERNATIVES)  # of ADD, trained as long
TUNING_SEED = 10_000  # seed of the trainings that choose it: no profile counts so far


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        settings: The image set.
        what: The foundation, arm or alternative that is trained.
        seed: The seed. An arm or alternative takes the teacher and the features of its seed; one
            network judges all.
        rate: The factor on its learning rate; None: the one that suits it best.
        steps: The number of steps of its student, for each of which progressive distillation has
            one of its own.
    """

    settings: SetSettings
    what: str
    seed: int = 0
    rate: float | None = None
    steps: int = 1

    @property
    def title(self) -> str:
        """The name of the training in tables."""
        return self.what if self.steps == 1 else f"{self.what}, {self.steps} steps"


def seeds_of(profile: AddProfile, settings: SetSettings, method: str) -> tuple[int, ...]:
    """Return the seeds that a method runs with on an image set; none if it does not run there.

    Methods that need no training of their own, such as the teacher's samplers, run with all.
    """
    seeds = profile.seeds_of(settings)
    if method in settings.arms_once:
        return seeds[:1]
    chosen = ("default", *settings.arms, *settings.alternatives)
    return seeds if method in chosen or method not in (*ARMS, *ALTERNATIVES) else ()


def arm_jobs(profile: AddProfile) -> list[Job]:
    """Return the trainings behind the ablation table, in the order of its rows."""
    return [job for settings in profile.sets for job in _jobs(profile, settings, *ARMS)]


def method_jobs(profile: AddProfile) -> list[Job]:
    """Return the trainings behind the table of ways to few steps, in the order of its rows."""
    return [
        job
        for settings in profile.sets
        for job in _jobs(profile, settings, *settings.alternatives, *SHOWN_BESIDE_TEACHER)
    ]


def drawn_steps(profile: AddProfile, job: Job) -> tuple[int, ...]:
    """Return the numbers of steps in which the student of a job draws."""
    return (job.steps,) if job.what == "progressive" else profile.student_steps


def tuned(settings: SetSettings) -> tuple[str, ...]:
    """Return what chooses a learning rate of its own on an image set: all that claims compare.

    Arms that run once are rows of a table alone, and keep the rate of the default one.
    """
    return ("default", *settings.arms, *settings.alternatives)


def tunings(profile: AddProfile) -> list[Job]:
    """Return the trainings that choose learning rates, as many for each arm and alternative."""
    return [
        Job(search.settings, search.what, TUNING_SEED, rate)
        for search in searches(profile)
        for rate in search.settings.rates
    ]


def searches(profile: AddProfile) -> list[Job]:
    """Return the searches of learning rates, which go on where the best one tried is at an end."""
    return [
        Job(settings, method, TUNING_SEED)
        for settings in profile.sets
        if len(settings.rates) > 1
        for method in tuned(settings)
    ]


def distillations(profile: AddProfile) -> list[Job]:
    """Return all arms and alternatives with their seeds."""
    return list(dict.fromkeys([*arm_jobs(profile), *method_jobs(profile)]))


def foundations(profile: AddProfile) -> list[Job]:
    """Return the networks that distillations find trained, the longest training first."""
    jobs = [
        Job(settings, "teacher", seed)
        for settings in profile.sets
        for seed in trained_seeds(profile, settings)
    ]
    for settings in profile.sets:
        if settings.eye == "vit":
            for seed in trained_seeds(profile, settings):
                jobs += [Job(settings, "eye", seed), Job(settings, "embedder", seed)]
        jobs.append(Job(settings, "metric"))
    return jobs


def trained_seeds(profile: AddProfile, settings: SetSettings) -> tuple[int, ...]:
    """Return the seeds that train on an image set, that of searches included."""
    chosen = (TUNING_SEED,) if len(settings.rates) > 1 else ()
    return profile.seeds_of(settings) + chosen


def all_jobs(profile: AddProfile) -> list[Job]:
    """Return all trainings of the chapter."""
    return [
        *foundations(profile), *tunings(profile), *searches(profile), *distillations(profile)
    ]  # fmt: skip


def _jobs(profile: AddProfile, settings: SetSettings, *methods: str) -> Iterator[Job]:
    for method in methods:
        for seed in seeds_of(profile, settings, method):
            for steps in _students(profile, settings, method):
                yield Job(settings, method, seed, steps=steps)


def _students(profile: AddProfile, settings: SetSettings, method: str) -> Iterator[int]:
    """Yield the number of steps of each student that a method trains for one seed."""
    if method != "progressive":
        yield 1
        return
    for steps in profile.student_steps:
        if steps in settings.progressive.students:
            yield steps
