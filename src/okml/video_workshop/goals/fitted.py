"""Rankers and policies as the experiments train them on a log of impressions."""

from __future__ import annotations

from pathlib import Path

import torch

from okml.runtime import seed_everything
from okml.video_workshop.common.training import training_settings
from okml.video_workshop.goals.impressions import Audience, Impressions, RequestBatches
from okml.video_workshop.goals.policies import SoftmaxPolicy, Weigh, train_policy
from okml.video_workshop.goals.rankers import Ranker, build_ranker, train_ranker
from okml.video_workshop.settings.goals import PolicyNetworkSettings, RankerKind
from okml.video_workshop.study import Study


def fitted_ranker(
    study: Study,
    audience: Audience,
    log: Impressions,
    kind: RankerKind,
    tasks: tuple[str, ...],
    seed: int,
    trainings: Path,
) -> Ranker:
    """Return a ranker trained on a log, in evaluation mode.

    Args:
        study: Study of the run.
        audience: Users and items of the log.
        log: Impressions to learn from.
        kind: Architecture of the ranker.
        tasks: Names of the predicted tasks.
        seed: Random seed of the initial weights and of the order of examples.
        trainings: Folder of trainings.
    """
    settings = study.profile.goals.ranker
    seed_everything(seed)
    content, clicks = torch.from_numpy(audience.content), log.recent.shape[1]
    ranker = build_ranker(kind, audience.users, content, tasks, settings, clicks)
    training = training_settings(
        study.profile, batch=settings.batch, epochs=settings.epochs, seed=seed
    )
    folder = trainings / f"{kind} {'+'.join(tasks)} {seed}"
    source = RequestBatches(log, study.device)
    return train_ranker(ranker.to(study.device), source, settings, training, folder)


def fitted_policy(
    study: Study,
    audience: Audience,
    source: RequestBatches,
    weigh: Weigh,
    settings: PolicyNetworkSettings,
    seed: int,
    folder: Path,
    estimated: bool,
) -> SoftmaxPolicy:
    """Return a policy trained on a log, in evaluation mode.

    Args:
        study: Study of the run.
        audience: Users and items of the log.
        source: Batches of the log.
        weigh: Function that weights the log-likelihood, which defines the method.
        settings: Sizes and length of the training.
        seed: Random seed of the initial weights and of the order of requests.
        folder: Folder of the training.
        estimated: Whether β comes from the behavior head instead of the logged propensities.
    """
    seed_everything(seed)
    content = torch.from_numpy(audience.content)
    policy = SoftmaxPolicy(audience.users, content, settings.width).to(study.device)
    training = training_settings(
        study.profile, batch=settings.batch, epochs=settings.epochs, seed=seed
    )
    return train_policy(policy, source, weigh, settings.learning_rate, training, folder, estimated)
