"""The steps of the chapter: all trainings, and what their courses say."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
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
    ("late", pl.Boolean),
]
LAYERS = [
    *((name, pl.Int64) for name in ("layer", "periods")),
    *((name, pl.Float64) for name in ("initial norm", "norm at C", "fall", "falls most", "growth",
                                      "grows most")),
]  # fmt: skip
SPHERE_ARMS = [name for name, arm in ARMS.items() if arm.held is not None]
LEAST_ERROR = 1e-16  # below it an error is one of float64, and its logarithm says nothing
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
    shown = pl.concat(_course(study, job).tail(SHOWN) for job in firsts).drop("layers")
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
    # NaN where no destabilization of a seed counts, or its growth is not known.
    growth = dict.fromkeys(profile.seeds, math.nan) | by_seed(
        phases.filter("late").drop_nulls("growth"),
        lambda own: float(own["growth"].to_numpy().mean()),
    )
    result.measure("norm_growth", estimate_over_seeds(growth))
    result.frames = {
        "periods": pl.DataFrame(rows),
        "phases": phases,
        "layers": _layers(profile, courses, phases),
        "spheres": _spheres(profile, courses),
    }
    return result


def _spheres(profile: PeriodicBehaviorProfile, courses: pl.DataFrame) -> pl.DataFrame:
    """Return the late part of each training whose norm is held, by the factor of its sphere."""
    rows = []
    for name in SPHERE_ARMS:
        own = of(courses, profile.rates, name)
        for (seed,), course in own.group_by("seed", maintain_order=True):
            late = course["angle"].to_numpy()[int(profile.transient * len(course)) :]
            rows.append(
                {"held": ARMS[name].held, "factor": ARMS[name].sphere, "seed": seed,
                 "angle": float(np.sqrt((late**2).mean())),
                 "in 1000 epochs": _in_1000(profile, count(profile, course)),
                 "median loss": _late_loss(profile, course)}
            )  # fmt: skip
    return pl.DataFrame(rows).sort("held", "factor", "seed", descending=[False, True, False])


def _in_1000(profile: PeriodicBehaviorProfile, destabilizations: float) -> float:
    """Return the frequency of the destabilizations that count, in 1000 epochs."""
    return 1000 * destabilizations / ((1 - profile.transient) * profile.main.epochs)


def _layers(
    profile: PeriodicBehaviorProfile, courses: pl.DataFrame, phases: pl.DataFrame
) -> pl.DataFrame:
    """Return one row a layer: how its norm falls before a destabilization, and grows in it.

    The periods are those of :func:`_phases` whose growth is known and whose end counts. ``fall`` is
    the norm at C over that at B, ``growth`` the largest before the next B over that at C, and
    ``norm at C`` is over the initial one; each is a median over periods. ``falls most`` and ``grows
    most`` are the shares of the periods in which the layer does so more than all others.
    """
    initial = _norms(of(courses, profile.rates, "fixed_norm").filter(epoch=1)).mean(0)  # [layers]
    ends = phases.with_columns(until=pl.col("low").shift(-1).over("seed"))
    ends = ends.filter("late").drop_nulls("until")
    found = []  # of each period: the norms at B and at C, and the largest before the next B
    for (seed,), course in of(courses, profile.rates, "invariant").group_by("seed"):
        norms = _norms(course)
        for low, rise, until in ends.filter(seed=seed).select("low", "rise", "until").iter_rows():
            # Epochs count from 1, and C begins after the last epoch of B.
            found.append((norms[low - 1], norms[rise - 2], norms[rise - 1 : until].max(0)))
    if not found:
        return pl.DataFrame(schema=LAYERS)
    at_b, at_c, largest = np.array(found).transpose(1, 0, 2)  # [periods, layers] each
    fall, growth = at_c / at_b, largest / at_c
    rows = [
        (layer + 1, len(found), initial[layer], np.median(at_c[:, layer]) / initial[layer],
         np.median(fall[:, layer]), (fall.argmin(1) == layer).mean(),
         np.median(growth[:, layer]), (growth.argmax(1) == layer).mean())
        for layer in range(len(initial))
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=LAYERS, orient="row")


def _norms(course: pl.DataFrame) -> Floats:
    """Return the norms of all layers, ``[epochs, layers]``."""
    return np.array(course["layers"].to_list(), dtype=np.float64)


def _late_loss(profile: PeriodicBehaviorProfile, course: pl.DataFrame) -> float:
    """Return the median loss of a course after its transient."""
    return float(np.median(course["loss"].to_numpy()[int(profile.transient * len(course)) :]))


def _less(values: BY_SEED, control: BY_SEED) -> Estimate:
    return estimate_over_seeds({seed: values[seed] - control[seed] for seed in values})


def _phases(profile: PeriodicBehaviorProfile, courses: pl.DataFrame) -> pl.DataFrame:
    """Return one row a period: the limits of its phases, the norm at each, and its growth.

    The growth is the factor from the norm where C begins to the largest before the next B; it is
    null in the last period, whose next B is not known. A period counts if the destabilization that
    ends it does, as in :func:`count`.
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
                 "growth": norm[each.rise : after.low + 1].max() / start if after else None,
                 "late": each.next_peak >= profile.transient * len(course)}
            )  # fmt: skip
    return pl.DataFrame(rows, schema=PHASES)


def measure_frequency(study: Study, courses: pl.DataFrame) -> StepResult:
    """Measure how the frequency of destabilizations depends on learning rate and weight decay."""
    profile, result, rows = study.profile, StepResult(), []
    frequencies: dict[RateSettings, BY_SEED] = {}
    for rates in profile.compared_rates:
        found = by_seed(of(courses, rates, "invariant"), lambda course: count(profile, course))
        frequencies[rates] = {seed: _in_1000(profile, value) for seed, value in found.items()}
        rows += [
            {"rate": rates.learning_rate, "decay": rates.weight_decay,
             "product": float(f"{rates.learning_rate * rates.weight_decay:.6g}"), "seed": seed,
             "destabilizations": found[seed], "in 1000 epochs": value}
            for seed, value in frequencies[rates].items()
        ]  # fmt: skip
    result.frames = {"frequency": pl.DataFrame(rows)}

    def exponent(others: list[RateSettings], varied: str) -> BY_SEED:
        """Return the slope of log frequency over the log of what varies, by seed."""
        compared = [profile.rates, *others]
        logs = np.log([getattr(rates, varied) for rates in compared])
        return {
            seed: _slope(logs, np.array([frequencies[rates][seed] for rates in compared]))
            for seed in profile.seeds
        }

    of_decay = exponent(profile.other_decays, "weight_decay")
    of_rate = exponent(profile.rates_at_decay, "learning_rate")
    at_product = exponent(profile.other_rates, "learning_rate")
    result.measure("frequency_exponent", estimate_over_seeds(of_decay))
    result.measure("rate_exponent", estimate_over_seeds(at_product))
    result.measure("rate_exponent_at_fixed_decay", estimate_over_seeds(of_rate))
    result.measure("exponent_difference", _less(of_rate, of_decay))
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
    """Measure how far norms depart from their equation, in the worst step of a training.

    The error is that of the norm of all weights, or the largest among those of single layers. Of
    the former's base-10 logarithm, in the worst step of each epoch, the median and the 99th
    percentile over epochs are measured too.
    """
    profile, result = study.profile, StepResult()
    worst: dict[str, BY_SEED] = {}
    tables = []
    for arm, of_arm in (("invariant", ""), ("plain", "_plain")):
        own = of(courses, profile.rates, arm)
        orders = {
            name: by_seed(own, partial(_orders, column="norm_error", share=share))
            for name, share in (("median", 0.5), ("p99", 0.99), ("max", 1.0))
        }
        for name in ("median", "p99"):
            metric = f"norm_error_orders_{name}{of_arm}"
            result.measure(metric, estimate_over_seeds(orders[name]))
        for column in ("norm_error", "layer_error"):
            errors = by_seed(own, partial(_largest, column=column))
            worst[column + of_arm] = errors
            result.measure(column + of_arm, estimate_over_seeds(errors))
        of_layer = partial(_orders, column="layer_error", share=1.0)
        orders["max of a layer"] = by_seed(own, of_layer)
        columns = {name: list(values.values()) for name, values in orders.items()}
        tables.append(
            pl.DataFrame({"network": ARMS[arm].label, "seed": list(orders["max"]), **columns})
        )
    for column in ("norm_error", "layer_error"):
        less = _less(worst[column], worst[f"{column}_plain"])
        result.compare(column, f"{column}_plain", less)
    result.frames = {"errors": pl.concat(tables)}
    return result


def _largest(course: pl.DataFrame, column: str) -> float:
    return float(course[column].to_numpy().max())


def _orders(course: pl.DataFrame, column: str, share: float) -> float:
    """Return a quantile of the base-10 logarithm of the errors of a course."""
    errors = np.maximum(course[column].to_numpy(), LEAST_ERROR)
    return float(np.quantile(np.log10(errors), share))
