"""Policy evaluation before stage 2: critics that are fitted to the actor of stage 1.

CRR weighs logged actions by their advantages, and the advantages of a critic that is not fitted
mean nothing. So critics are trained for the frozen actor first, until the returns of users whom
they have not seen are predicted no better. The same networks regressed on those users' returns
(Monte Carlo) show what they could reach: stage 1 clones the log, so that its values are nearly
those of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from okml.offline_rl.arms import CriticJob
from okml.offline_rl.critic import Critics
from okml.offline_rl.data import SEED, MDPDataset, sample
from okml.offline_rl.episodes import TransitionBatch, TransitionBatches, returns_to_go
from okml.offline_rl.networks import build_critics
from okml.offline_rl.settings import OfflineRLProfile
from okml.offline_rl.trainer import TrainedCritics, adam, crr_task, training_settings
from okml.runtime import seed_everything
from okml.seqrec.encoder import Encoder
from okml.seqrec.metrics import Floats
from okml.seqrec.rows import Rows, Windows
from okml.training import SupervisedTask, TrainingTask, fit

ERROR = "return_error"
EVALUATIONS = 12  # of a fit of all its epochs, at equal intervals
PATIENCE = 3  # evaluations in a row without a smaller error, after which a fit ends
HELD_OUT = 0.1  # share of the training users that choose a fit; as many others judge it
MOST_ROWS = 5000  # largest size of each of these two shares


class Parts(NamedTuple):
    """The training part of a log, split by user for a fit."""

    windows: Windows  # of users on whom critics are trained
    choice: Rows  # of users who choose rate, copies and epoch
    judged: Rows  # of users whom no fit has seen


def split_users(data: MDPDataset) -> Parts:
    """Split the users of the training part; it is the same for all seeds of a run.

    The windows cover all of a history, as the rows that choose and judge do, though arms may be
    trained on the newest ones alone: at the end of a history less return is left than before.
    """
    windows = data.split.training_windows(data.interactions, data.settings.length, None)
    rows = data.split.train
    users = np.unique(rows.user)
    rng = np.random.default_rng(SEED)
    rng.shuffle(users)
    size = max(1, round(HELD_OUT * len(users)))
    parts = (rows.take(np.isin(rows.user, p)) for p in (users[:size], users[size : 2 * size]))
    choice, judged = (part.take(sample(len(part), MOST_ROWS, rng)) for part in parts)
    kept = windows.take(~np.isin(windows.user, users[: 2 * size]))
    return Parts(kept, choice, judged)


@torch.no_grad()
def values_of(critics: Critics, data: MDPDataset, rows: Rows, batch_size: int) -> Floats:
    """Return Q of the logged action of each row, the mean over critics, ``[r]``."""
    device = next(critics.parameters()).device
    source = data.histories(rows, device)
    found = []
    for first in range(0, len(rows), batch_size):
        which = np.arange(first, min(first + batch_size, len(rows)))
        batch = source.batch(which, np.random.default_rng(0))
        each = torch.arange(len(which), device=device)
        last = (batch.items != 0).sum(1) - 1
        actions = torch.zeros_like(batch.items)  # [b, n]
        actions[each, last] = batch.target
        found.append(critics(batch.items, actions)[0][each, last].mean(1))
    return np.asarray(torch.cat(found).cpu().numpy(), dtype=np.float64)


def returns_of(job: CriticJob, data: MDPDataset) -> NDArray[np.float32]:
    """Return the return from each event on, by the discount of the job's critics, ``[e]``.

    With a discount of zero it is the reward of the event.
    """
    gamma = dict(job.changes).get("gamma", data.gamma)
    return returns_to_go(data.episodes.rewards, data.interactions.offsets, gamma)


def fit_critics(
    profile: OfflineRLProfile,
    data: MDPDataset,
    job: CriticJob,
    actor: Encoder,
    device: torch.device,
    folder: Path,
) -> TrainedCritics:
    """Fit critics to the actor of stage 1, which stays as it is, or load a finished fit.

    The job has its learning rate. Batches are built on the device.
    """
    assert job.rate is not None
    seed_everything(job.seed)
    parts, settings = split_users(data), data.settings
    critics = build_critics(data).to(device)
    returns = returns_of(job, data)[parts.choice.end]

    def evaluate(_: nn.Module) -> Mapping[str, float]:
        values = values_of(critics, data, parts.choice, profile.evaluation_batch)
        return {ERROR: float(np.mean((values - returns) ** 2))}

    task: TrainingTask
    if job.on_returns:
        optimizer = adam(critics, job.rate)
        task = SupervisedTask(critics, _error_of_returns, optimizer, evaluate=evaluate)
    else:
        changes = dict(job.changes) | ({} if job.copies is None else {"target_every": job.copies})
        task = crr_task(
            data, profile.variant(changes), actor, critics, settings.stage2, job.rate,
            chunk_bytes=profile.chunk_bytes, critics_only=True, evaluate=evaluate,
        )  # fmt: skip
    source = TransitionBatches(data.episodes, parts.windows, device=device)
    batch_size = settings.stage2.batch
    steps = settings.fit_epochs * -(-len(source) // batch_size)
    training = training_settings(
        profile,
        batch_size=batch_size,
        max_epochs=settings.fit_epochs,
        seed=job.seed,
        evaluate_every=max(1, steps // EVALUATIONS),
        evaluate_unit="step",
        monitor=ERROR,
        mode="min",
        patience=PATIENCE,
    )
    history = fit(task, source, training, folder)
    assert history.best_value is not None
    return TrainedCritics(
        critics=critics.eval(),
        spread=getattr(task, "spread", 0.0),
        rate=job.rate,
        copies=job.copies,
        error=history.best_value,
        history=history,
    )


def _error_of_returns(critics: nn.Module, batch: TransitionBatch) -> Tensor:
    """Return half the mean squared error of logged returns over transitions, a scalar."""
    values = batch.at_transitions(critics(batch.items, batch.targets)[0])  # [r, c]
    returns = batch.at_transitions(batch.returns)
    error: Tensor = 0.5 * ((values - returns[:, None]) ** 2).mean()
    return error
