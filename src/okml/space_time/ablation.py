"""Ablation: which next tokens a neuron is needed for (Gurnee & Tegmark, 2023, Appendix B).

The neuron is pinned to zero and the rise of the loss is read off token by token. The paper shows
the largest rises of single neurons; other neurons of the same layer, which it lacks, are the
control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from okml.errors import DataError, ParameterError
from okml.runtime import progress
from okml.space_time.batches import Ids, Offsets, check_tokens, read_batch
from okml.space_time.interventions import pin_neuron
from okml.space_time.models import LanguageModel
from okml.space_time.part_runs import going_on_after, states_after


@dataclass(frozen=True)
class Ablation:
    """What zeroing a neuron does to the next-token loss.

    Attributes:
        contexts: One row a context and neuron: ``context``, ``neuron``, ``kind`` (target or
            control), ``loss`` (untouched, nats a token), ``increase`` (of its mean).
        tokens: One row a predicted token, for the target neuron alone: ``context``, ``position``
            (of the predicted token), ``token_id``, ``loss``, ``increase``.
    """

    contexts: pl.DataFrame
    tokens: pl.DataFrame

    def worst_tokens(self, count: int = 10) -> pl.DataFrame:
        """Return the predicted tokens whose loss rises most, as in Tables 5 to 8 of the paper."""
        return self.tokens.sort("increase", descending=True, maintain_order=True).head(count)


def ablate(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    layer: int,
    neuron: int,
    controls: Sequence[int],
    token_budget: int = 1024,
) -> Ablation:
    """Zero a neuron, and each control in turn, and measure the next-token loss in each context.

    Args:
        lm: The language model that is read.
        ids: Flat token ids of the contexts.
        offsets: The start of each context, and the end of the last, [n + 1].
        layer: Block of all these neurons.
        neuron: The one in question.
        controls: Others of the same block; see ``matched_neurons``.
        token_budget: Tokens in one forward pass.

    Raises:
        DataError: If a context has fewer than two tokens.
    """
    config = lm.model.config
    check_tokens(ids, offsets, config.vocab_size, config.max_position_embeddings)
    if (np.diff(offsets) < 2).any():
        raise DataError("A context needs two tokens at least: the loss is of the next token.")
    neurons = torch.tensor([neuron, *controls])
    contexts, tokens = [], []
    for context in progress(range(len(offsets) - 1), "ablation"):
        sequence = read_batch(ids, offsets, np.array([context]), lm.device)  # [1, T]
        pinned = []
        size = max(1, token_budget // sequence.shape[1])
        with going_on_after(lm, layer - 1, states_after(lm, sequence, layer - 1)):
            loss = _losses(lm, sequence)[0]  # [T - 1]
            for group in torch.split(neurons, size):
                with pin_neuron(lm, layer, group, 0.0):
                    pinned.append(_losses(lm, sequence.expand(len(group), -1)))
        increase = torch.cat(pinned) - loss  # [1 + controls, T - 1]
        contexts.append(
            pl.DataFrame(
                {
                    "context": [context] * len(neurons),
                    "neuron": neurons.numpy(),
                    "kind": ["target"] + ["control"] * len(controls),
                    "loss": [float(loss.mean())] * len(neurons),
                    "increase": increase.mean(dim=1).double().numpy(),
                }
            )
        )
        tokens.append(
            pl.DataFrame(
                {
                    "context": [context] * len(loss),
                    "position": np.arange(1, sequence.shape[1]),
                    "token_id": sequence[0, 1:].cpu().numpy(),
                    "loss": loss.double().numpy(),
                    "increase": increase[0].double().numpy(),
                }
            )
        )
    return Ablation(pl.concat(contexts), pl.concat(tokens))


def matched_neurons(activations: Tensor, neuron: int, count: int) -> list[int]:
    """Return other neurons of the same block to compare an ablation with.

    They are those whose root mean square activation is nearest to the neuron's: a neuron that
    hardly fires is no control for one that does.

    Args:
        activations: The activations of all neurons of the block on some prompts, [n, m].
        neuron: The neuron to leave out.
        count: The number of neurons to return.

    Raises:
        ParameterError: If the block has too few neurons.
    """
    width = activations.shape[1]
    if count >= width:
        raise ParameterError(f"The block has only {width - 1} other neurons.")
    others = np.delete(np.arange(width), neuron)
    strength = activations.square().mean(dim=0).sqrt().numpy()
    nearest = np.argsort(np.abs(strength[others] - strength[neuron]), kind="stable")[:count]
    return [int(other) for other in np.sort(others[nearest])]


def _losses(lm: LanguageModel, ids: Tensor) -> Tensor:
    """Return the loss of every next token of ``ids`` [B, T] in nats, on the CPU, [B, T - 1]."""
    with torch.inference_mode():
        logits = lm.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        return torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), ids[:, 1:], reduction="none"
        ).cpu()
