"""The log of the chapter: its counts, and the share of events with tied times."""

from __future__ import annotations

import numpy as np
import polars as pl

from okml.seqrec.interactions import Interactions
from okml.steps import StepResult
from okml.video_workshop.common.data import files_used
from okml.video_workshop.common.study import Study


def describe_data(study: Study) -> StepResult:
    """Count users, items, events, actions and events with tied times."""
    result, watched = StepResult(), study.watched
    interactions = watched.interactions
    tied = share_of_tied(interactions)
    row = {
        "data": study.profile.data.log,
        "users": interactions.user_count,
        "items": interactions.item_count,
        "events": len(interactions),
        "median length": float(np.median(interactions.lengths)),
        "left out": watched.dropped,
        "days": float(np.ptp(interactions.times)) / 86_400,
        "same second": tied,
        "kinds of action": len(watched.kinds),
        "successes": float(watched.liked.mean()),
        "shown at random": 0.0 if watched.random is None else float(watched.random.mean()),
        "source": watched.source,
    }
    result.log("share_of_tied_events", tied)
    result.frames["data"] = pl.DataFrame([row])
    result.frames["signals"] = pl.DataFrame(
        {
            "signal": watched.kinds.signals,
            "share of events": watched.kinds.members[watched.actions].mean(0),
        }
    )
    for log in study.profile.logs:
        result.data |= files_used(log)
    result.notes += [watched.notice] if watched.notice else []
    return result


def share_of_tied(interactions: Interactions) -> float:
    """Return the share of events with the same user and second as another event."""
    users = interactions.users()
    same = (np.diff(users) == 0) & (np.diff(interactions.times) == 0)
    tied = np.zeros(len(interactions), bool)
    tied[1:] |= same
    tied[:-1] |= same
    return float(tied.mean())
