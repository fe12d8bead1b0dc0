"""Recommendation of new items by different item representations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import MultiLabelBinarizer

from okml.ledger import DataUsed, Estimate, estimate_statistic
from okml.seqrec.comparison import RankedArms
from okml.seqrec.interactions import Ints
from okml.steps import StepResult
from okml.training.ahead import train_ahead
from okml.video_workshop.common.content import SENTENCE_MODEL
from okml.video_workshop.common.data import files_used
from okml.video_workshop.items.arms import LABELS, ItemJob, all_jobs, new_item_jobs
from okml.video_workshop.items.code_quality import quantization_report
from okml.video_workshop.items.maker import size_of
from okml.video_workshop.items.quantizers import RQVAE, RQKMeans
from okml.video_workshop.items.study import ItemsStudy
from okml.video_workshop.settings.items import ItemArm

HR, NDCG, MRR = "hr@10", "ndcg@10", "mrr@10"


@dataclass(frozen=True)
class WarmAndCold:
    """The ranks of all arms on three sets of rows, paired by user within each.

    Attributes:
        warm: Ranks of targets with training events, among all items.
        cold: Ranks of targets without training events, among all items.
        among_cold: Ranks of the cold targets among cold items.
    """

    warm: RankedArms
    cold: RankedArms
    among_cold: RankedArms


def ranked(study: ItemsStudy, jobs: Iterable[ItemJob]) -> WarmAndCold:
    """Return the ranks of jobs by their arms."""
    users, cold = study.split.rows.user, study.split.asked_cold
    found = WarmAndCold(RankedArms(users[~cold]), RankedArms(users[cold]), RankedArms(users[cold]))
    for job in jobs:
        ranks = study.ranks(job)
        found.warm.add(job.arm, job.seed, ranks.full[~cold])
        found.cold.add(job.arm, job.seed, ranks.full[cold])
        found.among_cold.add(job.arm, job.seed, ranks.among_cold)
    return found


def measure_cold_items(study: ItemsStudy) -> StepResult:
    """Compare all representations on warm and on cold targets."""
    profile = study.profile
    study.modalities(profile.seeds[0])  # embeds the texts once, not in every worker
    train_ahead(study, all_jobs(profile))
    result, slices = StepResult(), ranked(study, new_item_jobs(profile))
    candidates = int(study.split.cold.sum())
    result.log("cold_items", candidates)
    result.log("cold_targets", int(study.split.asked_cold.sum()))
    result.log("random_among_cold_hr10", min(1.0, 10 / candidates))
    _measure(result, slices)
    result.frames["arms"] = _table(study, slices)
    return result


def _measure(result: StepResult, slices: WarmAndCold) -> None:
    """Measure the arms of the claims, and compare them with their controls."""
    names = {
        "id": "id",
        "random_codes": "random_code",
        "sid_unigram": "semantic_id",
        "content": "content",
        "hybrid_sid": "hybrid",
        "hybrid_naive": "naive_hybrid",
    }
    for arm, name in names.items():
        if arm in slices.warm.arms:
            result.measure(f"{name}_warm_ndcg10", slices.warm.estimate(arm, NDCG))
            result.measure(f"{name}_cold_hr10", slices.cold.estimate(arm, HR))
            result.measure(f"{name}_among_cold_hr10", slices.among_cold.estimate(arm, HR))
    compared = {*slices.warm.arms}
    if {"sid_unigram", "random_codes"} <= compared:
        beyond = slices.cold.difference("sid_unigram", "random_codes", HR)
        result.compare("semantic_id_cold_hr10", "random_code_cold_hr10", beyond)
    if {"hybrid_sid", "hybrid_naive", "id", "sid_unigram"} <= compared:
        hybrid, naive = KeptShare(slices, "hybrid_sid"), KeptShare(slices, "hybrid_naive")
        result.measure("hybrid_kept_share", hybrid.estimate())
        result.measure("naive_hybrid_kept_share", naive.estimate())
        result.compare("hybrid_kept_share", "naive_hybrid_kept_share", hybrid.estimate(less=naive))


class KeptShare:
    """The smaller of the shares of warm and cold quality that a hybrid keeps.

    One share is relative to the ``id`` arm on known items, the other to the Semantic ID on new
    items.

    Args:
        arm: Name of the hybrid arm.
    """

    def __init__(self, slices: WarmAndCold, arm: str) -> None:
        # Known and new targets, concatenated, because users have both.
        self.users = np.concatenate([slices.warm.users, slices.cold.users])
        self.known = np.arange(len(self.users)) < len(slices.warm.users)
        self.seeds = slices.warm.common_seeds(arm, "id")
        self.own, self.best = (
            {
                seed: np.concatenate(
                    [slices.warm.rows(warm, NDCG, seed), slices.cold.rows(cold, HR, seed)]
                )
                for seed in self.seeds
            }
            for warm, cold in ((arm, arm), ("id", "sid_unigram"))
        )  # [r] by seed

    def share(self, rows: Ints, seed: int) -> float:
        """Return the kept share on some of the rows; NaN if a reference is 0."""
        shares = []
        for side in (rows[self.known[rows]], rows[~self.known[rows]]):
            best = self.best[seed][side].sum()
            shares.append(self.own[seed][side].sum() / best if best else np.nan)
        return float(np.min(shares))

    def estimate(self, less: KeptShare | None = None) -> Estimate:
        """Return the kept share, or its difference from another's, with an interval."""

        def statistic(rows: Ints, seed: int) -> float:
            return self.share(rows, seed) - (less.share(rows, seed) if less else 0)

        return estimate_statistic(
            statistic, len(self.users), "users", seeds=self.seeds, clusters=self.users
        )


def _table(study: ItemsStudy, slices: WarmAndCold) -> pl.DataFrame:
    """Return a row for each arm: its cost, and its metrics with intervals."""
    rows = []
    for arm in slices.warm.arms:
        name: ItemArm = arm  # type: ignore[assignment]
        cost = size_of(study.maker.make(name, slices.warm.seeds(arm)[0]))
        row: dict[str, object] = {
            "arm": arm, "label": LABELS[name], "seeds": len(slices.warm.seeds(arm)),
            "rows": cost.rows, "lookups": cost.lookups, "parameters": cost.parameters,
        }  # fmt: skip
        for part, ranked in (
            ("warm", slices.warm), ("cold", slices.cold), ("among cold", slices.among_cold),
        ):  # fmt: skip
            row |= _estimates(part, ranked, arm)
        rows.append(row)
    return pl.DataFrame(rows)


def _estimates(part: str, ranked: RankedArms, arm: str) -> dict[str, float | None]:
    found = {metric: ranked.estimate(arm, metric) for metric in (HR, NDCG, MRR)}
    row: dict[str, float | None] = {}
    for metric, estimate in found.items():
        row[f"{part} {metric}"] = estimate.mean
    for metric in (HR, NDCG):
        row[f"{part} {metric} low"] = found[metric].low
        row[f"{part} {metric} high"] = found[metric].high
    return row


def measure_quantizers(study: ItemsStudy) -> StepResult:
    """Measure the quality of codes, fitted on known items and measured on all items."""
    result, maker = StepResult(), study.maker
    seed = study.profile.seeds[0]
    x = maker.quantized(seed)
    known = torch.from_numpy(maker.known).to(x.device)
    labels = _genres(study.log.films)
    reports = []
    for name, quantizer in _quantizers(study, x.shape[1]):
        quantizer.to(x.device).fit(x[known], seed)
        report = quantization_report(quantizer, x[1:], maker.content(seed)[1:], labels)
        codes = pl.lit(f"{quantizer.levels}x{quantizer.codes}").alias("codes")
        reports.append(report.select(pl.lit(name).alias("quantizer"), codes, pl.all()))
    result.frames["quantizers"] = pl.concat(reports)
    result.data |= _files_used(study)
    return result


def _files_used(study: ItemsStudy) -> dict[str, DataUsed]:
    """Return the files that the experiment reads besides the chapter's log."""
    data = study.data
    used = {} if study.profile.cold_data is None else files_used(data.log)
    if data.text == "minilm" and not data.features:
        used |= files_used(SENTENCE_MODEL)
    return used


def _quantizers(study: ItemsStudy, width: int) -> Iterable[tuple[str, RQKMeans | RQVAE]]:
    settings = study.profile.items
    yield "rq_kmeans", RQKMeans(settings.levels, settings.codes, width)
    torch.manual_seed(study.profile.seeds[0])
    yield "rq_vae", RQVAE(settings.levels, settings.codes, width, settings.rqvae)


def _genres(films: pl.DataFrame) -> NDArray[np.bool_]:
    """Return the genres of each item, ``[items, g]``."""
    lists = films["genres"].fill_null([]).to_list()
    return np.asarray(MultiLabelBinarizer().fit_transform(lists), dtype=bool)
