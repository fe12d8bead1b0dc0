"""Histories as episodes of an MDP, and batches of their transitions.

The state is the history so far, the action is the next item, and the reward is that of its event.
A causal model reads a window once and has a transition at every position.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import DataError
from okml.seqrec.batches import CPU, CausalBatch, CausalBatches
from okml.seqrec.interactions import Interactions, Ints
from okml.seqrec.places import true_places
from okml.seqrec.rows import Windows


@dataclass(frozen=True, eq=False)
class Episodes:
    """Events with rewards; a user's events are one episode.

    Attributes:
        interactions: The events, ordered by user and time.
        rewards: The reward of each event, float32 ``[e]``.
        returns: The discounted sum of rewards from each event to the end of its episode, ``[e]``.
    """

    interactions: Interactions
    rewards: NDArray[np.float32]
    returns: NDArray[np.float32]

    @classmethod
    def of(cls, interactions: Interactions, gamma: float) -> Episodes:
        """Return episodes with the values of events as rewards.

        Raises:
            DataError: If events have no values, or one is not a number.
        """
        rewards = interactions.values
        if rewards is None or not np.isfinite(rewards).all():
            raise DataError(
                "An event has no reward.", "Add rewards with okml.offline_rl.rewards.with_rewards."
            )
        returns = returns_to_go(rewards, interactions.offsets, gamma)
        return cls(interactions, rewards, returns)


def returns_to_go(rewards: NDArray[np.float32], offsets: Ints, gamma: float) -> NDArray[np.float32]:
    """Return ``r + γ r' + γ² r'' + …`` from each event to the end of its episode, ``[e]``."""
    returns = rewards.astype(np.float64)
    lengths = np.diff(offsets)
    # Process all episodes at once, from their ends backwards, until each has reached its start.
    alive = np.flatnonzero(lengths > 1)
    place = offsets[1:][alive] - 2
    while len(alive):
        returns[place] += gamma * returns[place + 1]
        place -= 1
        going = place >= offsets[alive]
        alive, place = alive[going], place[going]
    return returns.astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class TransitionBatch(CausalBatch):
    """Windows with a transition at each position: the state is the prefix up to it.

    The targets are the actions; they are 0 where there is no transition. The padding is on the
    right.

    Attributes:
        rewards: The rewards of the actions, ``[b, n]``.
        returns: The discounted returns from the action to the end of its episode, ``[b, n]``.
        ends: Whether the action is the last of its episode, ``[b, n]``.
        has_next: Whether the state after the action is the next position of the window, ``[b, n]``.
            If neither this nor ``ends`` is set, the window was cut, the next state is unknown,
            and there is no temporal difference.
    """

    rewards: Tensor
    returns: Tensor
    ends: Tensor
    has_next: Tensor

    @cached_property
    def kept(self) -> Tensor:
        """The positions with a transition, as indices of the flattened windows, ``[r]``."""
        return true_places(self.targets.flatten() != 0, self.count)

    def at_transitions(self, values: Tensor) -> Tensor:
        """Return the values, ``[b, n, ...]``, of positions with a transition, ``[r, ...]``."""
        return values.flatten(0, 1)[self.kept]


class TransitionBatches(CausalBatches):
    """A batch source whose examples are windows of episodes, padded on the right."""

    def __init__(
        self,
        episodes: Episodes,
        windows: Windows,
        *,
        jitter: bool = True,
        device: torch.device = CPU,
    ) -> None:
        interactions = episodes.interactions
        super().__init__(interactions, windows, padding_side="right", jitter=jitter, device=device)
        ends = np.zeros(len(interactions), dtype=bool)
        ends[interactions.offsets[1:] - 1] = True
        self._rewards, self._returns, self._ends = (
            torch.from_numpy(values).to(device)
            for values in (episodes.rewards, episodes.returns, ends)
        )

    def batch(self, indices: Ints, rng: np.random.Generator) -> TransitionBatch:
        """Build the batch of the windows ``indices``, ``[b]``; ``rng`` moves them."""
        start, stop = self.windows.bounds(self.interactions, indices, rng if self.jitter else None)
        length, flat = self.windows.length, self._flat
        sizes = stop - 1 - start
        places, real = flat.padded(start, stop - 1, length, "right")  # [b, n]
        actions = places + 1
        has_next = torch.zeros_like(real)
        has_next[:, :-1] = real[:, 1:]
        return TransitionBatch(
            items=flat.items(places) * real,
            times=flat.times(places) * real,
            targets=flat.items(actions) * real,
            rewards=self._rewards[actions] * real,
            returns=self._returns[actions] * real,
            ends=self._ends[actions] & real,
            has_next=has_next,
            user=flat.put(self.windows.user[indices]),
            padded=bool((sizes < length).any()),
            count=int(sizes.sum()),
        )


def bootstrapped(batch: TransitionBatch, of_state: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return one-step targets of Q and a mask of the valid ones (1 or 0), both ``[r]``.

    The state after an action is the next position of its window. Its value is zero if the episode
    ends; it is unknown if the window was cut, and the transition is then masked.

    Args:
        batch: The windows with transitions.
        of_state: The value of the state at each transition, ``[r]``.
        gamma: The discount factor.
    """
    at = of_state.new_zeros(batch.targets.numel())
    at[batch.kept] = of_state
    after = torch.zeros_like(at.view_as(batch.targets))
    after[:, :-1] = at.view_as(batch.targets)[:, 1:]
    goal = batch.rewards + gamma * after * (batch.has_next & ~batch.ends)
    counts = batch.ends | batch.has_next
    return batch.at_transitions(goal), batch.at_transitions(counts).to(goal.dtype)
