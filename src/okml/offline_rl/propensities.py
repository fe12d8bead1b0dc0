"""Likelihoods, Q and V of logged sessions under trained networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from okml.offline_rl.critic import Critics
from okml.offline_rl.softmax_pass import policy_pass
from okml.seqrec.encoder import Encoder

Floats = NDArray[np.float64]
BATCH = 256  # sessions


@dataclass(frozen=True, eq=False)
class Judged:
    """Statistics of each logged action under networks; arrays are ``[s, n]``, 0 for padding.

    Attributes:
        log_prob: The log probability of the action under the policy.
        values: The mean over critics of Q of the action; 0 without critics.
        state_values: The mean of Q over the policy's actions; 0 without critics.
        entropy: The entropy of the policy, in nats.
    """

    log_prob: Floats
    values: Floats
    state_values: Floats
    entropy: Floats


@torch.inference_mode()
def judge_sessions(
    actor: Encoder,
    items: NDArray[np.int64],
    critics: Critics | None = None,
    *,
    chunk_bytes: int,
    device: torch.device,
) -> Judged:
    """Return likelihoods and values of sessions under a policy and its critics.

    Args:
        actor: The encoder of the policy.
        items: The items of sessions, ``[s, n + 1]``, 0 after their end.
        critics: The critics of the policy; None for no values.
        chunk_bytes: The largest memory of logits.
        device: The device of the networks.
    """
    actor.eval()
    parts = [
        _judge(actor, torch.from_numpy(items[start : start + BATCH]).to(device), critics,
               chunk_bytes)
        for start in range(0, len(items), BATCH)
    ]  # fmt: skip
    stacked = torch.cat(parts, 1).cpu().numpy().astype(np.float64)
    return Judged(*stacked)


def _judge(
    actor: Encoder, items: torch.Tensor, critics: Critics | None, chunk_bytes: int
) -> torch.Tensor:
    """Return the four arrays of some sessions, ``[4, s, n]``."""
    inputs, targets = items[:, :-1].contiguous(), items[:, 1:].contiguous()
    kept = targets.flatten().nonzero()[:, 0]
    table = None if critics is None else critics.action_vectors().flatten(1)
    found = policy_pass(
        actor(inputs).flatten(0, 1)[kept],
        actor.item_matrix(),
        targets.flatten()[kept],
        table=table,
        chunk_bytes=chunk_bytes,
    )
    values = state_values = torch.zeros_like(found.log_prob)
    if critics is not None:
        q, vectors = critics(inputs, targets)
        values = q.flatten(0, 1)[kept].mean(1)
        vectors = vectors.flatten(0, 1)[kept]
        state_values = (vectors * found.expected.view_as(vectors)).sum(-1).mean(1)
    spread = torch.zeros(4, targets.numel(), device=items.device)
    spread[:, kept] = torch.stack([found.log_prob, values, state_values, found.entropy]).float()
    return spread.view(4, *targets.shape)
