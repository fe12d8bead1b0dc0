"""Ablation: which next tokens a neuron is needed for (Gurnee & Tegmark, 2023, Appendix B).

The neuron is pinned to zero and the rise of the loss is read off token by token. The paper shows
the largest rises of single neurons; other neurons of the same layer and text of another kind,
which it lacks, are the controls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from okml.errors import DataError, ParameterError
from okml.runtime import progress
from okml.space_time.batches import Ids, Offsets, check_tokens, read_batch
from okml.space_time.interventions import pin_neuron
from okml.space_time.models import LanguageModel
from okml.space_time.part_runs import going_on_after, states_after


def losses_without(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    layer: int,
    neurons: Sequence[int],
    token_budget: int = 1024,
) -> Iterator[Tensor]:
    """Yield the loss of every next token of each text, untouched and without each neuron in turn.

    Args:
        lm: The language model that is read.
        ids: Flat token ids of the texts.
        offsets: The start of each text, and the end of the last, [n + 1].
        layer: Block of the neurons.
        neurons: The numbers of the neurons that are zeroed, one at a time, [V].
        token_budget: Tokens in one forward pass.

    Yields:
        Losses in nats, [1 + V, T - 1] for a text of T tokens, on the CPU.

    Raises:
        DataError: If a text has fewer than two tokens.
    """
    check_tokens(ids, offsets, lm.model.config)
    if (np.diff(offsets) < 2).any():
        raise DataError("A text needs two tokens at least: the loss is of the next token.")
    zeroed = torch.tensor(list(neurons))
    for text in progress(range(len(offsets) - 1), "ablation"):
        sequence = read_batch(ids, offsets, np.array([text]), lm.device)  # [1, T]
        size = max(1, token_budget // sequence.shape[1])
        with going_on_after(lm, layer - 1, states_after(lm, sequence, layer - 1)):
            found = [_losses(lm, sequence)]
            for group in torch.split(zeroed, size):
                with pin_neuron(lm, layer, group, 0.0):
                    found.append(_losses(lm, sequence.expand(len(group), -1)))
        yield torch.cat(found)


def matched_neurons(
    activations: Tensor, neuron: int, count: int, excluded: Iterable[int] = ()
) -> list[int]:
    """Return other neurons of the same block to compare an intervention with.

    They are those whose root mean square activation is nearest to the neuron's: a neuron that
    hardly fires is no control for one that does.

    Args:
        activations: The activations of all neurons of the block on some tokens, [n, m].
        neuron: The neuron to leave out.
        count: The number of neurons to return.
        excluded: Other neurons to leave out, such as those that follow the same target.

    Raises:
        ParameterError: If the block has too few neurons.
    """
    others = np.setdiff1d(np.arange(activations.shape[1]), [neuron, *excluded])
    if count > len(others):
        raise ParameterError(f"The block has only {len(others)} other neurons.")
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
