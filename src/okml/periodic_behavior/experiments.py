"""The steps of the chapter: all trainings, and what their courses say."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import zip_longest

import numpy as np
import polars as pl

from okml.ledger import Estimate, estimate_over_seeds
from okml.periodic_behavior.arms import ARMS, DRAWN, Job, all_jobs, arms_of
from okml.periodic_behavior.dynamics import equilibrium_angle
from okml.periodic_behavior.images import CLASSES
from okml.periodic_behavior.networks import invariant_weights
from okml.periodic_behavior.periods import Floats, destabilizations, periods
from okml.periodic_behavior.settings import PeriodicBehaviorProfile, RateSettings
from okml.periodic_behavior.study import Study
from okml.steps import StepResult
from okml.training.ahead import train_ahead

BY_SEED = dict[int, float]
SHOWN = 400  # last epochs of a course in figures; a peak is a few wide, so none is left out
PHASES = [
    *((name, pl.Int64) for name in ("seed", "peak", "low", "rise", "next_peak")),
    *((name, pl.Float64) for name in ("norm at A", "norm at B", "norm at C", "growth")),
]
AWAY = 1.5  # factor between an angle and the equilibrium's that is away from it


def describe_problems(study: Study) -> StepResult:
    """Describe the images and networks: counts of examples, classes and weights."""
    profile, rows, result = study.profile, [], StepResult()
    for problem in profile.problems:
        images = study.data(problem)
        network = study.untrained(Job(problem, "invariant", profile.rates, profile.seeds[0]))
        result.data |= images.used
        rows.append(
            {
                "images": problem.images,
                "examples": len(images.labels),
                "side": images.pixels.shape[-1],
                "classes": CLASSES[problem.images],
                "network": problem.network,
                "scale-invariant weights": sum(w.numel() for w in invariant_weights(network)),
                "epochs": problem.epochs,
                "steps an epoch": math.ceil(problem.examples / problem.batch),
            }
        )
    result.frames = {"problems": pl.DataFrame(rows)}
    return result


def train_everything(study: Study) -> StepResult:
    """Carry out all trainings; return their courses, and the last epochs that figures show."""
    profile = study.profile
    jobs = all_jobs(profile)
    train_ahead(study, jobs)
    courses = pl.concat([_course(study, job) for job in jobs])
    firsts = [Job(profile.main, arm, profile.rates, profile.seeds[0]) for arm in DRAWN]
    shown = pl.concat(_course(study, job).tail(SHOWN) for job in firsts)
    result = StepResult(frames={"courses": courses, "shown": shown})
    result.log("trainings", len(jobs), exact=True)
    return result


def _course(study: Study, job: Job) -> pl.DataFrame:
    return study.train(job).course.select(
        pl.lit(study.profile.problems.index(job.problem)).alias("problem"),
        pl.lit(job.arm).alias("arm"),
        pl.lit(job.rates.learning_rate).alias("rate"),
        pl.lit(job.rates.weight_decay).alias("decay"),
        pl.lit(job.seed).alias("seed"),
        pl.all(),
    )


def of(courses: pl.DataFrame, rates: RateSettings, arm: str, problem: int = 0) -> pl.DataFrame:
    """Return the courses of an arm of a problem with these rates, by epoch."""
    return courses.filter(
        arm=arm, problem=problem, rate=rates.learning_rate, decay=rates.weight_decay
    ).sort("seed", "epoch")


def by_seed(rows: pl.DataFrame, value: Callable[[pl.DataFrame], float]) -> BY_SEED:
    """Return a number of each seed's course."""
    return {int(seed): value(own) for (seed,), own in rows.group_by("seed", maintain_order=True)}


def count(profile: PeriodicBehaviorProfile, course: pl.DataFrame) -> int:
    """Return the number of destabilizations of a course after its transient."""
    peaks = destabilizations(course["loss"].to_numpy(), profile.jump)
    return int((peaks >= profile.transient * len(course)).sum())


def measure_periods(study: Study, courses: pl.DataFrame) -> StepResult:
    """Count the destabilizations of every arm, and how far each throws the norm outward."""
    profile, result, rows = study.profile, StepResult(), []
    counts: dict[str, BY_SEED] = {}
    late: dict[str, BY_SEED] = {}
    for number, problem in enumerate(profile.problems):
        for arm in arms_of(profile, problem):
            own = of(courses, profile.rates, arm, number)
            found = by_seed(own, lambda course: count(profile, course))
            losses = by_seed(own, lambda course: _late_loss(profile, course))
            rows += [
                {"images": problem.images, "network": problem.network, "arm": ARMS[arm].label,
                 "seed": seed, "destabilizations": value,
                 "lowest loss": own.filter(seed=seed)["loss"].min(), "median loss": losses[seed]}
                for seed, value in found.items()
            ]  # fmt: skip
            if number == 0:
                counts[arm], late[arm] = found, losses
                name = "periods" if arm == "invariant" else f"periods_{arm}"
                result.measure(name, estimate_over_seeds(found), "destabilizations")
    result.compare("periods", "periods_no_decay", _less(counts["invariant"], counts["no_decay"]))
    with_all = _less(counts["all_weights"], counts["plain"])
    result.compare("periods_all_weights", "periods_plain", with_all)
    small, initial = late["smallest_sphere"], late["fixed_norm"]
    orders = {seed: math.log10(small[seed] / initial[seed]) for seed in profile.seeds}
    result.measure("late_loss_orders_smallest_sphere", estimate_over_seeds(orders))
    plain = of(courses, profile.rates, "plain")
    learned = by_seed(plain, lambda course: float(course["loss"].to_numpy().min()))
    result.measure("lowest_loss_plain", estimate_over_seeds(learned))
    phases = _phases(profile, of(courses, profile.rates, "invariant"))
    # NaN where a seed has no two whole periods.
    growth = dict.fromkeys(profile.seeds, math.nan) | by_seed(
        phases.drop_nulls("growth"), lambda own: float(own["growth"].to_numpy().mean())
    )
    result.measure("norm_growth", estimate_over_seeds(growth))
    result.frames = {"periods": pl.DataFrame(rows), "phases": phases}
    return result


def _late_loss(profile: PeriodicBehaviorProfile, course: pl.DataFrame) -> float:
    """Return the median loss of a course after its transient."""
    return float(np.median(course["loss"].to_numpy()[int(profile.transient * len(course)) :]))


def _less(values: BY_SEED, control: BY_SEED) -> Estimate:
    return estimate_over_seeds({seed: values[seed] - control[seed] for seed in values})


def _phases(profile: PeriodicBehaviorProfile, courses: pl.DataFrame) -> pl.DataFrame:
    """Return one row a period: the limits of its phases, the norm at each, and its growth.

    The growth is the factor from the norm where C begins to the largest before the next B; it is
    null in the last period, whose next B is not known.
    """
    rows = []
    for (seed,), course in courses.group_by("seed", maintain_order=True):
        norm = course["norm"].to_numpy()
        found = periods(course["loss"].to_numpy(), profile.jump)
        for each, after in zip_longest(found, found[1:]):
            start = norm[each.rise - 1]
            rows.append(
                {"seed": seed, **{name: at + 1 for name, at in each._asdict().items()},
                 "norm at A": norm[each.peak], "norm at B": norm[each.low], "norm at C": start,
                 "growth": norm[each.rise : after.low + 1].max() / start if after else None}
            )  # fmt: skip
    return pl.DataFrame(rows, schema=PHASES)


def measure_frequency(study: Study, courses: pl.DataFrame) -> StepResult:
    """Measure how the frequency of destabilizations depends on learning rate and weight decay."""
    profile, result, rows = study.profile, StepResult(), []
    frequencies: dict[RateSettings, BY_SEED] = {}
    for rates in (profile.rates, *profile.other_decays, *profile.other_rates):
        found = by_seed(of(courses, rates, "invariant"), lambda course: count(profile, course))
        epochs = (1 - profile.transient) * profile.main.epochs
        frequencies[rates] = {seed: 1000 * value / epochs for seed, value in found.items()}
        rows += [
            {"rate": rates.learning_rate, "decay": rates.weight_decay,
             "product": float(f"{rates.learning_rate * rates.weight_decay:.6g}"), "seed": seed,
             "destabilizations": found[seed], "in 1000 epochs": value}
            for seed, value in frequencies[rates].items()
        ]  # fmt: skip
    result.frames = {"frequency": pl.DataFrame(rows)}

    def exponent(others: list[RateSettings], varied: str) -> Estimate:
        """Estimate the slope of log frequency over the log of what varies."""
        compared = [profile.rates, *others]
        logs = np.log([getattr(rates, varied) for rates in compared])
        return estimate_over_seeds({
            seed: _slope(logs, np.array([frequencies[rates][seed] for rates in compared]))
            for seed in profile.seeds
        })  # fmt: skip

    result.measure("frequency_exponent", exponent(profile.other_decays, "weight_decay"))
    result.measure("rate_exponent", exponent(profile.other_rates, "learning_rate"))
    return result


def _slope(logs: Floats, frequencies: Floats) -> float:
    """Return the slope of log frequency over logs; NaN where nothing was counted."""
    if (frequencies == 0).any():
        return math.nan
    return float(np.polyfit(logs, np.log(frequencies), 1)[0])


def measure_presumptions(study: Study, courses: pl.DataFrame) -> StepResult:
    """Compare the angle between successive weights with that of the equilibrium.

    Over whole periods log |w| returns, so the mean of log cos θ must be log(1 - ηλ), whatever
    happens between. The mean of θ² is then 2ηλ as far as θ is small; long steps turn less.
    """
    profile, result = study.profile, StepResult()
    equilibrium = equilibrium_angle(profile.rates.learning_rate, profile.rates.weight_decay)
    late = pl.col("epoch") > profile.transient * profile.main.epochs

    def mean(course: pl.DataFrame) -> float:
        return float(np.sqrt((course["relative"].to_numpy() ** 2).mean()))

    def away(course: pl.DataFrame) -> float:
        return float((np.abs(np.log(course["relative"].to_numpy())) > math.log(AWAY)).mean())

    for arm, name in (("invariant", ""), ("all_weights", "_all_weights")):
        own = of(courses, profile.rates, arm).filter(late)
        own = own.select("seed", relative=pl.col("angle") / equilibrium)
        for metric, value in (("angle_to_equilibrium", mean), ("away_from_equilibrium", away)):
            result.measure(metric + name, estimate_over_seeds(by_seed(own, value)))
    return result


def measure_norms(study: Study, courses: pl.DataFrame) -> StepResult:
    """Measure how far the norm departs from its equation, in the worst step of a training."""
    profile, result = study.profile, StepResult()
    errors: dict[str, BY_SEED] = {}
    for arm, name in (("invariant", "norm_error"), ("plain", "norm_error_plain")):
        own = of(courses, profile.rates, arm)
        errors[arm] = by_seed(own, lambda course: float(course["norm_error"].to_numpy().max()))
        result.measure(name, estimate_over_seeds(errors[arm]))
    result.compare("norm_error", "norm_error_plain", _less(errors["invariant"], errors["plain"]))
    return result
