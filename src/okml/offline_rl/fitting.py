"""Policy evaluation before stage 2: critics that are fitted to the actor of stage 1.

CRR weighs logged actions by their advantages, and the advantages of a critic that is not fitted
mean nothing. So critics are trained for the frozen actor first, until the returns of users whom
they have not seen are predicted no better. The same networks regressed on those users' returns
(Monte Carlo) show what they could reach: stage 1 clones the log, so that its values are nearly
those of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from okml.offline_rl.arms import CriticJob
from okml.offline_rl.critic import Critics
from okml.offline_rl.data import SEED, MDPDataset, sample
from okml.offline_rl.episodes import TransitionBatch, TransitionBatches
from okml.offline_rl.networks import build_critics
from okml.offline_rl.settings import CRRSettings, OfflineRLProfile
from okml.offline_rl.trainer import GRADIENT_CLIP, TrainedCritics, crr_task
from okml.runtime import seed_everything
from okml.seqrec.batches import LastTargetBatches
from okml.seqrec.encoder import Encoder
from okml.seqrec.metrics import Floats
from okml.seqrec.rows import Rows, Windows
from okml.seqrec.tasks import OptimizerSettings, build_optimizer
from okml.training import SupervisedTask, TrainingSettings, TrainingTask, fit

ERROR = "return_error"
HELD_OUT = 0.1  # share of the training users that choose a fit; as many others judge it
MOST_ROWS = 5000  # largest size of each of these two shares


@dataclass(frozen=True, eq=False)
class Parts:
    """The training part of a log, split by user for a fit.

    Attributes:
        windows: The windows of users on whom critics are trained.
        choice: Rows of users who choose rate, copies and epoch.
        judged: Rows of users whom no fit has seen.
    """

    windows: Windows
    choice: Rows
    judged: Rows


def split_users(data: MDPDataset) -> Parts:
    """Split the users of the training part; it is the same for all seeds of a run."""
    windows, rows = data.windows(), data.split.train
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
    source = LastTargetBatches(
        data.interactions, rows, data.settings.length, padding_side="right", device=device
    )
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


@dataclass(frozen=True, eq=False)
class CriticFit:
    """One fit on one log.

    Attributes:
        job: The fit, with its learning rate.
        actor: The actor of stage 1, which stays as it is.
        settings: The settings of CRR that the values follow.
        device: The device on which batches are built.
    """

    profile: OfflineRLProfile
    data: MDPDataset
    job: CriticJob
    actor: Encoder
    settings: CRRSettings
    device: torch.device

    def run(self, folder: Path) -> TrainedCritics:
        """Fit critics, or load a finished fit from the folder."""
        assert self.job.rate is not None
        seed_everything(self.job.seed)
        parts = split_users(self.data)
        critics = build_critics(self.data).to(self.device)
        source = TransitionBatches(self.data.episodes, parts.windows, device=self.device)
        task = self._task(critics, parts.choice)
        history = fit(task, source, self._settings(), folder)
        assert history.best_value is not None
        return TrainedCritics(
            critics=critics.eval(),
            spread=getattr(task, "spread", 0.0),
            rate=self.job.rate,
            copies=self.job.copies,
            error=history.best_value,
            history=history,
        )

    def _task(self, critics: Critics, choice: Rows) -> TrainingTask:
        returns = self.data.episodes.returns[choice.end]

        def evaluate(_: nn.Module) -> Mapping[str, float]:
            values = values_of(critics, self.data, choice, self.profile.evaluation_batch)
            return {ERROR: float(np.mean((values - returns) ** 2))}

        assert self.job.rate is not None
        if self.job.on_returns:
            module = ReturnRegression(critics)
            optimizer = build_optimizer(module, OptimizerSettings(learning_rate=self.job.rate))
            return SupervisedTask(
                module, lambda model, batch: model(batch), optimizer, evaluate=evaluate
            )
        return crr_task(
            self.data, self.settings, self.actor, critics, self.data.settings.stage2,
            self.job.rate, chunk_bytes=self.profile.chunk_bytes, critics_only=True,
            evaluate=evaluate,
        )  # fmt: skip

    def _settings(self) -> TrainingSettings:
        profile, limits = self.profile, self.profile.fit
        return TrainingSettings(
            batch_size=self.data.settings.stage2.batch,
            max_epochs=limits.epochs,
            seed=self.job.seed,
            gradient_clip=GRADIENT_CLIP,
            evaluate_every=1,
            monitor=ERROR,
            mode="min",
            patience=limits.patience,
            keep_checkpoints=1,
            device=profile.device,
            mixed_precision=profile.mixed_precision,
            compile=profile.compile,
        )


class ReturnRegression(nn.Module):
    """Critics and half their squared error of logged returns, for parallel wrappers."""

    def __init__(self, critics: Critics) -> None:
        super().__init__()
        self.critics = critics

    def forward(self, batch: TransitionBatch) -> Tensor:
        """Return the mean error over transitions, a scalar."""
        values = batch.at_transitions(self.critics(batch.items, batch.targets)[0])  # [r, c]
        returns = batch.at_transitions(batch.returns)
        error: Tensor = 0.5 * ((values - returns[:, None]) ** 2).mean()
        return error
