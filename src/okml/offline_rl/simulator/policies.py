"""Trained and scripted policies for the simulator."""

from __future__ import annotations

import numpy as np
import torch

from okml.offline_rl.simulator.sessions import Recommend, draw
from okml.offline_rl.simulator.world import Floats, FunnelSim, Ints, Visitors
from okml.seqrec.encoder import Encoder
from okml.seqrec.interactions import Interactions

LOGGING = "the log's policy"  # name of the logging policy in tables and figures


def shop_numbers(interactions: Interactions) -> Ints:
    """Return the shop's number of each item of a log, ``[V]``, in the log's order from 1."""
    return interactions.item_ids.cast(int).to_numpy().astype(np.int64)


def trained(encoder: Encoder, numbers: Ints, length: int, device: torch.device) -> Recommend:
    """Return a policy that draws items from the softmax of an encoder over histories.

    Args:
        encoder: The encoder of the actor.
        numbers: The shop's number of each item; see :func:`shop_numbers`.
        length: The largest number of items of a state.
        device: The device of the encoder.
    """
    encoder.eval()
    from_shop = np.zeros(numbers.max() + 2, dtype=np.int64)
    from_shop[numbers] = np.arange(1, len(numbers) + 1)

    @torch.inference_mode()
    def recommend(
        visitors: Visitors, history: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats]:
        items = torch.from_numpy(from_shop[history[:, -length:]]).to(device)
        logits = encoder.last(items) @ encoder.item_matrix()[1:].T
        chosen, chance = draw(logits.double().softmax(1).cpu().numpy(), rng)
        return numbers[chosen], chance

    return recommend


def teacher(shop: FunnelSim, introductions: int) -> Recommend:
    """Return a policy that knows the interest and shows a number of introductions first.

    With 0 it is the myopic policy, which maximizes each next reward.
    """

    def recommend(
        visitors: Visitors, history: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats]:
        core = shop.core(visitors.cluster, rng)
        intro = visitors.cluster * shop.per_cluster + visitors.introduced
        teach = visitors.introduced < introductions
        # Introductions are shown in order, so the number seen is the index of the next one.
        return np.where(teach, intro, core), np.ones(len(history))

    return recommend
