"""Training of policies: one loop for all methods, which differ in the weights of logged actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from okml.training import SupervisedTask, TrainingSettings, fit
from okml.video_workshop.policies.network import SoftmaxPolicy
from okml.video_workshop.policies.reinforce import reinforce_loss
from okml.video_workshop.requests import RequestBatch, RequestBatches

# Maps a batch, log π and log β of the shown items to the weights of their log-likelihood, [b, k].
Weigh = Callable[[RequestBatch, Tensor, Tensor], Tensor]


def train_policy(
    policy: SoftmaxPolicy,
    source: RequestBatches,
    weigh: Weigh,
    learning_rate: float,
    training: TrainingSettings,
    folder: Path | None,
    estimated: bool = False,
) -> SoftmaxPolicy:
    """Train a policy in place and return it in evaluation mode.

    The behavior head learns from all shown items, whatever their reward: on rewarded actions only,
    it would estimate another policy.

    Args:
        policy: Policy to train.
        source: Batches of the log.
        weigh: Function that weights the log-likelihood, which defines the method.
        learning_rate: Learning rate of Adam.
        training: Length, batch size and device of the training.
        folder: Folder of the training; None: nothing is written.
        estimated: Whether β comes from the behavior head instead of the logged propensities.
    """

    def loss(model: nn.Module, batch: RequestBatch) -> Mapping[str, Tensor]:
        every, every_behavior = model(batch.users, batch.candidates, batch.recent)
        log_prob = every.gather(1, batch.places)
        behavior = every_behavior.gather(1, batch.places)
        log_behavior = behavior.detach() if estimated else batch.propensity.log()
        weights = weigh(batch, log_prob, log_behavior)
        policy_loss, behavior_loss = reinforce_loss(log_prob, weights), -behavior.mean()
        return {"loss": policy_loss + behavior_loss, "policy": policy_loss,
                "behavior": behavior_loss, "weight": weights.mean()}  # fmt: skip

    optimizer = torch.optim.Adam(policy.parameters(), learning_rate)
    fit(SupervisedTask(policy, loss, optimizer), source, training, folder)
    return policy.eval()
