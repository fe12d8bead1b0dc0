"""The steps of the chapter: all trainings, and what their courses say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl

from okml.ledger import Estimate, estimate_over_seeds
from okml.periodic_behavior.arms import ARMS, Job, all_jobs
from okml.periodic_behavior.images import CLASSES
from okml.periodic_behavior.networks import invariant_weights
from okml.periodic_behavior.periods import Floats, destabilizations, periods
from okml.periodic_behavior.settings import PeriodicBehaviorProfile, RateSettings
from okml.periodic_behavior.study import Study
from okml.steps import StepResult
from okml.training.ahead import train_ahead

BY_SEED = dict[int, float]
SHOWN = 400  # epochs of a course in figures
PHASES = [
    *((name, pl.Int64) for name in ("seed", "peak", "low", "rise", "next_peak")),
    *((f"norm {when}", pl.Float64) for when in ("at A", "at B", "at C", "after C")),
]
AWAY = 1.5  # factor between a step's length and the equilibrium's that is away from it


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
    """Carry out all trainings, and return the courses of the first problem and of the others."""
    profile = study.profile
    jobs = all_jobs(profile)
    train_ahead(study, jobs)
    courses = pl.concat([_course(study, job) for job in jobs])
    firsts = [Job(profile.main, arm, profile.rates, profile.seeds[0]) for arm in profile.arms]
    every = math.ceil(profile.main.epochs / SHOWN)
    shown = pl.concat(_course(study, job).gather_every(every) for job in firsts)
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
    for number, problem in enumerate(profile.problems):
        for arm in profile.arms if number == 0 else profile.other_arms:
            own = of(courses, profile.rates, arm, number)
            found = by_seed(own, lambda course: count(profile, course))
            rows += [
                {"images": problem.images, "network": problem.network, "arm": ARMS[arm].label,
                 "seed": seed, "destabilizations": value,
                 "lowest loss": own.filter(seed=seed)["loss"].min()}
                for seed, value in found.items()
            ]  # fmt: skip
            if number == 0:
                counts[arm] = found
                name = "periods" if arm == "invariant" else f"periods_{arm}"
                result.measure(name, estimate_over_seeds(found), "destabilizations")
    for arm in ("no_decay", "fixed_norm", "plain"):
        more = {seed: counts["invariant"][seed] - counts[arm][seed] for seed in profile.seeds}
        result.compare("periods", f"periods_{arm}", estimate_over_seeds(more))
    plain = of(courses, profile.rates, "plain")
    learned = by_seed(plain, lambda course: float(course["loss"].min()))  # type: ignore[arg-type]
    result.measure("lowest_loss_plain", estimate_over_seeds(learned))
    main = of(courses, profile.rates, "invariant")
    result.measure("norm_growth", estimate_over_seeds(by_seed(main, _growth_of(profile))))
    result.frames = {"periods": pl.DataFrame(rows), "phases": _phases(profile, main)}
    return result


def _growth_of(profile: PeriodicBehaviorProfile) -> Callable[[pl.DataFrame], float]:
    """Return the function to the mean growth of the norm in a destabilization, a factor.

    It is the largest norm within the epochs of A after a peak, over that where C began.
    """

    def growth(course: pl.DataFrame) -> float:
        norm = course["norm"].to_numpy()
        found = periods(course["loss"].to_numpy(), profile.jump)
        after = [*(each.low for each in found[1:]), len(norm) - 1]
        factors = [
            norm[each.rise - 1 : end + 1].max() / norm[each.rise - 1]
            for each, end in zip(found, after, strict=False)
        ]
        return float(np.mean(factors)) if factors else math.nan

    return growth


def _phases(profile: PeriodicBehaviorProfile, courses: pl.DataFrame) -> pl.DataFrame:
    """Return one row a period: the limits of its phases, and the norm at each."""
    rows = []
    for (seed,), course in courses.group_by("seed", maintain_order=True):
        norm = course["norm"].to_numpy()
        for each in periods(course["loss"].to_numpy(), profile.jump):
            rows.append(
                {"seed": seed, **{name: at + 1 for name, at in each._asdict().items()},
                 "norm at A": norm[each.peak],
                 "norm at B": norm[each.low], "norm at C": norm[each.rise - 1],
                 "norm after C": norm[each.next_peak]}
            )  # fmt: skip
    return pl.DataFrame(rows, schema=PHASES)


def measure_frequency(study: Study, courses: pl.DataFrame) -> StepResult:
    """Measure how the frequency of destabilizations depends on learning rate and weight decay."""
    profile, result, rows = study.profile, StepResult(), []
    frequencies: dict[RateSettings, BY_SEED] = {}
    for rates in dict.fromkeys((profile.rates, *profile.grid, *profile.same_product)):
        own = of(courses, rates, "invariant")
        found = by_seed(own, lambda course: count(profile, course))
        epochs = (1 - profile.transient) * profile.main.epochs
        frequencies[rates] = {seed: 1000 * value / epochs for seed, value in found.items()}
        rows += [
            {"rate": rates.learning_rate, "decay": rates.weight_decay,
             "product": rates.learning_rate * rates.weight_decay, "seed": seed,
             "destabilizations": found[seed], "in 1000 epochs": value}
            for seed, value in frequencies[rates].items()
        ]  # fmt: skip
    result.frames = {"frequency": pl.DataFrame(rows)}
    compared = [profile.rates, *profile.grid]
    logs = np.log([rates.learning_rate * rates.weight_decay for rates in compared])
    slopes = {
        seed: _slope(logs, np.array([frequencies[rates][seed] for rates in compared]))
        for seed in profile.seeds
    }
    result.measure("frequency_exponent", estimate_over_seeds(slopes))
    ratios = {
        seed: _log_ratio(
            [frequencies[rates][seed] for rates in profile.same_product],
            frequencies[profile.rates][seed],
        )
        for seed in profile.seeds
    }
    result.measure("frequency_log_ratio", estimate_over_seeds(ratios))
    return result


def _slope(log_products: Floats, frequencies: Floats) -> float:
    """Return the slope of log frequency over log product; NaN where nothing was counted."""
    if (frequencies == 0).any():
        return math.nan
    return float(np.polyfit(log_products, np.log(frequencies), 1)[0])


def _log_ratio(frequencies: list[float], reference: float) -> float:
    """Return the log of mean frequency over that of the reference; NaN where one is 0."""
    if not reference or not sum(frequencies):
        return math.nan
    return math.log(sum(frequencies) / len(frequencies) / reference)


def measure_presumptions(study: Study, courses: pl.DataFrame) -> StepResult:
    """Compare the length of a step on the sphere with that of the equilibrium, √(2ηλ).

    Both are angles: η |g| / |w|. Averaged over whole periods their squares are equal if the norm
    ends where it began, whatever happens between; at an equilibrium they would be so at any time.
    """
    profile, result = study.profile, StepResult()
    equilibrium = math.sqrt(2 * profile.rates.learning_rate * profile.rates.weight_decay)
    late = pl.col("epoch") > profile.transient * profile.main.epochs
    kept: dict[str, pl.DataFrame] = {}
    for arm in ("invariant", "all_weights"):
        own = of(courses, profile.rates, arm).filter(late)
        kept[arm] = own.select("seed", "epoch", relative=pl.col("step_length") / equilibrium)

    def mean(course: pl.DataFrame) -> float:
        return float(np.sqrt((course["relative"].to_numpy() ** 2).mean()))

    def away(course: pl.DataFrame) -> float:
        return float((np.abs(np.log(course["relative"].to_numpy())) > math.log(AWAY)).mean())

    averaged = by_seed(kept["invariant"], mean)
    result.measure("mean_step_to_equilibrium", estimate_over_seeds(averaged))
    for arm, name in (("invariant", ""), ("all_weights", "_all_weights")):
        shares = by_seed(kept[arm], away)
        result.measure(f"away_from_equilibrium{name}", estimate_over_seeds(shares))
    return result


def measure_norms(study: Study, courses: pl.DataFrame) -> StepResult:
    """Measure how far the norm departs from what its equation says."""
    profile, result = study.profile, StepResult()
    errors: dict[str, BY_SEED] = {}
    for arm, name in (("invariant", "norm_error"), ("plain", "norm_error_plain")):
        own = of(courses, profile.rates, arm)
        errors[arm] = by_seed(own, lambda course: float(np.median(course["norm_error"].to_numpy())))
        result.measure(name, estimate_over_seeds(errors[arm]))
    result.compare("norm_error", "norm_error_plain", _less(errors["invariant"], errors["plain"]))
    return result


def _less(values: BY_SEED, control: BY_SEED) -> Estimate:
    return estimate_over_seeds({seed: values[seed] - control[seed] for seed in values})
