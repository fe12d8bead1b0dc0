"""The steps of the experiment, which the notebook calls as well."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

import polars as pl

from okml.experiment import ChapterExperiment
from okml.ledger import RunRecord
from okml.profile import Profile
from okml.steps import StepResult
from okml.video_workshop.experiments import (
    cold,
    constrained,
    goals_ahead,
    last_items,
    launched,
    objectives,
    protocol,
    reuse,
    scaling,
    shock,
    stream,
    top_k,
    traffic,
)
from okml.video_workshop.settings import VideoWorkshopProfile
from okml.video_workshop.study import Study


class Experiment(ChapterExperiment[VideoWorkshopProfile, Study]):
    """The steps of the chapter in the order of the notebook; each is computed once."""

    @cached_property
    def data(self) -> StepResult:
        """The log."""
        return self.steps("data", protocol.describe_data, self.study)

    @cached_property
    def quantizers(self) -> StepResult:
        """Quality of Semantic IDs."""
        return self.steps("quantizers", cold.measure_quantizers, self.study)

    @cached_property
    def users_training(self) -> StepResult:
        """All trainings of user models and of recommenders on them."""
        return self.steps("users_training", reuse.train_users, self.study)

    @cached_property
    def cold(self) -> StepResult:
        """Item representations on known and on new items."""
        return self.steps("cold", cold.measure_cold_items, self.study)

    @cached_property
    def last_items(self) -> StepResult:
        """Last items, by the protocol of MicroLens's table."""
        return self.steps("last_items", last_items.measure_last_items, self.study)

    @cached_property
    def reuse(self) -> StepResult:
        """One user model under several recommenders."""
        return self.steps("reuse", reuse.measure_reuse, self.study)

    @cached_property
    def action_tokens(self) -> StepResult:
        """Action tokens of the user model, and other ablations of it."""
        return self.steps("action_tokens", reuse.measure_action_tokens, self.study)

    @cached_property
    def propagation(self) -> StepResult:
        """A larger user model under the same recommenders."""
        return self.steps("propagation", reuse.measure_propagation, self.study)

    @cached_property
    def scaling(self) -> StepResult:
        """Losses over a grid of models and users, and the laws fitted to them."""
        return self.steps("scaling", scaling.measure_scaling, self.study)

    @cached_property
    def goals_training(self) -> StepResult:
        """All seeds of E3, E4 and E5."""
        return self.steps("goals_training", goals_ahead.train_goals, self.study)

    @cached_property
    def world(self) -> StepResult:
        """Oracles in the simulator."""
        return self.steps("world", objectives.measure_world, self.study)

    @cached_property
    def objectives(self) -> StepResult:
        """Click models of growing capacity, and rankers of several goals."""
        return self.steps("objectives", objectives.measure_objectives, self.study)

    @cached_property
    def bandits(self) -> StepResult:
        """The two simulations of top-K REINFORCE, and their closed forms."""
        return self.steps("bandits", top_k.measure_bandits, self.study)

    @cached_property
    def corrections(self) -> StepResult:
        """Off-policy corrections in the simulator."""
        return self.steps("corrections", top_k.measure_corrections, self.study)

    @cached_property
    def constrained(self) -> StepResult:
        """Actor-critics with and without constraints."""
        return self.steps("constrained", constrained.measure_constrained, self.study)

    @cached_property
    def traffic(self) -> StepResult:
        """Rankers and policies on random impressions."""
        return self.steps("traffic", traffic.measure_traffic, self.study)

    @cached_property
    def freshness(self) -> StepResult:
        """All runs over streams; update strategies."""
        return self.steps("freshness", stream.measure_freshness, self.study)

    @cached_property
    def new_items(self) -> StepResult:
        """Initial rows of new items, expiring rows, item vectors of other trainings."""
        return self.steps("new_items", launched.measure_new_items, self.study)

    @cached_property
    def shock(self) -> StepResult:
        """Strategies under a shift of taste."""
        return self.steps("shock", shock.measure_shock, self.study)

    @cached_property
    def update_intervals(self) -> StepResult:
        """Intervals of updates."""
        return self.steps("update_intervals", stream.measure_shards, self.study)

    @cached_property
    def sessions(self) -> StepResult:
        """ADER's strategies on sessions of two shops."""
        return self.steps("sessions", stream.measure_sessions, self.study)

    def _open_study(self) -> Study:
        return Study(self.profile, self.folder)

    def _tables(self) -> Mapping[str, pl.DataFrame]:
        return {
            "data": self.data.frames["data"],
            "signals": self.data.frames["signals"],
            "quantizers": self.quantizers.frames["quantizers"],
            "cold": self.cold.frames["arms"],
            "popularity": self.cold.frames["popularity"],
            "partners": self.cold.frames["partners"],
            "budgets": self.cold.frames["budgets"],
            "last_items": self.last_items.frames["last_items"],
            "last_items_protocol": self.last_items.frames["protocol"],
            "reuse": self.reuse.frames["reuse"],
            "order": self.reuse.frames["order"],
            "ablations": self.action_tokens.frames["ablations"],
            "propagation": self.propagation.frames["propagation"],
            "swaps": self.propagation.frames["swaps"],
            "scaling": self.scaling.frames["points"],
            "laws": self.scaling.frames["laws"],
            "growth": self.scaling.frames["growth"],
            "oracles": self.world.frames["oracles"],
            "objectives": self.objectives.frames["objectives"],
            "surrogate": self.objectives.frames["surrogate"],
            "bandits": self.bandits.frames["bandits"],
            "corrections": self.corrections.frames["corrections"],
            "exposure": self.corrections.frames["exposure"],
            "constrained": self.constrained.frames["constrained"],
            "traffic": self.traffic.frames["traffic"],
            "traffic_rankers": self.traffic.frames["traffic_rankers"],
            "traffic_policies": self.traffic.frames["traffic_policies"],
            "strategies": self.freshness.frames["strategies"],
            "stream_curves": self.freshness.frames["curves"],
            "item_ages": self.freshness.frames["ages"],
            "stream_users": self.freshness.frames["users"],
            "new_rows": self.new_items.frames["new_rows"],
            "new_row_ages": self.new_items.frames["new_row_ages"],
            "found": self.new_items.frames["found"],
            "shock": self.shock.frames["shock"],
            "recovery": self.shock.frames["recovery"],
            "alignment": self.new_items.frames["alignment"],
            "update_intervals": self.update_intervals.frames["shards"],
            "sessions": self.sessions.frames["sessions"],
        }


STEPS = Experiment.step_names()


def run(profile: Profile, folder: Path) -> RunRecord:
    """Run the whole experiment; finished steps found in ``folder`` are used again."""
    return Experiment(cast(VideoWorkshopProfile, profile), folder).record()
