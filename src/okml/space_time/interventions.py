"""Does the model use what the probe finds? Pin a neuron, or push the residual stream.

Pinning fixes one neuron's activation on every token: a sweep of a time neuron moves the decade the
model predicts (Gurnee & Tegmark, 2023, Appendix B). Steering, which the paper does not do, adds a
multiple of a probe's unit direction to the residual stream at the entity's last token and reads
what the model says next; random directions of the same length are its control.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from okml.errors import ParameterError
from okml.runtime import progress
from okml.space_time.batches import Ids, Offsets, check_tokens, read_batch
from okml.space_time.models import LanguageModel
from okml.space_time.part_runs import going_on_after, states_after


@contextmanager
def pin_neuron(
    lm: LanguageModel, layer: int, neuron: int | Tensor, value: float | Tensor
) -> Iterator[None]:
    """Fix a neuron's activation on all tokens while the context is open.

    Args:
        lm: The language model that is read.
        layer: The number of the block, from 0.
        neuron: Index inside the block's MLP, or one for each row of the batch, [B].
        value: The activation to set, or one for each row of the batch, [B].

    Raises:
        ParameterError: If there is no such layer or neuron.
    """
    mlp = lm.mlp(layer)
    columns = torch.as_tensor(neuron, device=lm.device)
    if (columns < 0).any() or (columns >= mlp.width).any():
        raise ParameterError(f"Block {layer} has neurons 0 to {mlp.width - 1}.")
    values = torch.as_tensor(value, device=lm.device)

    def pin(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        activations = args[0].clone()  # [B, T, m]
        rows = torch.arange(len(activations), device=activations.device)
        per_row = values.to(activations).expand(len(rows))
        activations[rows, :, columns.to(activations.device).expand(len(rows))] = per_row[:, None]
        return (activations, *args[1:])

    with mlp.down.register_forward_pre_hook(pin):
        yield


def sweep_values(
    activations: Tensor,
    neuron: int,
    multiples: Sequence[float],
    quantile: float = 0.999,
) -> list[float]:
    """Return values to pin a neuron to: multiples of how strongly it fires on some prompts.

    The unit is a high quantile of |activation| at the last token; the paper does not say its own.

    Args:
        activations: The activations of all neurons of the block on the prompts, [n, m].
        neuron: The index of the neuron in its block.
        multiples: The values in units of that quantile.
        quantile: The quantile of |activation| that is the unit.
    """
    unit = float(np.quantile(activations[:, neuron].abs().numpy(), quantile))
    return [multiple * unit for multiple in multiples]


def sweep_neuron(
    lm: LanguageModel,
    prompt: Sequence[int],
    layer: int,
    neurons: Sequence[int],
    values: Sequence[float],
) -> Tensor:
    """Pin neurons to values, one at a time, and read the next token's probabilities.

    Args:
        lm: The language model that is read.
        prompt: Ids of what it reads, document start included.
        layer: Block of the neurons.
        neurons: The index of the neuron to pin in its block, one for each value, [V].
        values: Activations to pin, [V].

    Returns:
        Probabilities of the next token, untouched and then for each value, [1 + V, vocabulary].
    """
    ids = torch.tensor([prompt], device=lm.device)  # [1, T]
    with going_on_after(lm, layer - 1, states_after(lm, ids, layer - 1)):
        untouched = next_log_probs(lm, ids)
        with pin_neuron(lm, layer, torch.tensor(neurons), torch.tensor(values)):
            pinned = next_log_probs(lm, ids.expand(len(values), -1))
    return torch.cat([untouched, pinned]).exp().cpu()


def top_tokens(
    lm: LanguageModel, probabilities: Tensor, values: Sequence[float], top: int = 5
) -> pl.DataFrame:
    """Return the course of the next tokens that are most probable on average over a sweep.

    Args:
        lm: The language model that was read.
        probabilities: What :func:`sweep_neuron` returned, [1 + V, vocabulary].
        values: The values that the neuron was pinned to.
        top: The number of tokens to follow; one that rises is seen as well as one that falls.

    Returns:
        ``value`` (null: untouched), ``token``, ``token_id``, ``probability``.
    """
    chosen = probabilities.mean(dim=0).topk(top).indices
    tokens = [lm.tokenizer.decode([token]) for token in chosen.tolist()]
    return pl.DataFrame(
        {
            "value": [value for value in (None, *values) for _ in range(top)],
            "token": tokens * (1 + len(values)),
            "token_id": chosen.tolist() * (1 + len(values)),
            "probability": probabilities[:, chosen].double().flatten().tolist(),
        },
        schema_overrides={"value": pl.Float64},
    )


def next_log_probs(lm: LanguageModel, ids: Tensor) -> Tensor:
    """Return log-probabilities of the token after ``ids`` [B, T], float32 [B, vocabulary]."""
    with torch.inference_mode():
        logits = lm.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    return torch.log_softmax(logits.float(), dim=-1)


def random_directions(width: int, count: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return unit directions drawn uniformly from the sphere, named ``random 0``, …, [d] each."""
    drawn = np.random.default_rng(seed).standard_normal((count, width))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return {f"random {index}": direction for index, direction in enumerate(drawn)}


def steer(
    lm: LanguageModel,
    ids: Ids,
    offsets: Offsets,
    positions: NDArray[np.integer[Any]],
    layer: int,
    directions: Mapping[str, NDArray[np.floating]],
    strengths: Sequence[float],
    token: int,
    against: int,
    token_budget: int = 1024,
) -> pl.DataFrame:
    """Push the residual stream at the entity's last token and read the odds of the next token.

    The stream after block ``layer`` becomes h + α · ‖h‖ · u, where ‖h‖ is the mean norm over all
    prompts, so that every prompt gets the same push. The conditions of a prompt run as one batch.

    Args:
        lm: The language model that is read.
        ids: Flat token ids of the prompts, text after the entity included.
        offsets: The start of each prompt, and the end of the last, [n + 1].
        positions: Place of the entity's last token in its prompt, [n].
        layer: Block whose output is pushed.
        directions: Directions by name, [d]; their length does not matter.
        strengths: The values of α.
        token: Id of the next token in question.
        against: Id of the one it is compared with.
        token_budget: Tokens in one forward pass.

    Returns:
        ``prompt``, ``direction``, ``strength``, ``log_odds`` (log p(token) − log p(against)) and
        ``effect``, its change from the untouched run.

    Raises:
        DataError: If the tokens do not fit the model.
        ParameterError: If a direction is of the wrong width or zero, or a position outside.
    """
    check_tokens(ids, offsets, lm.model.config)
    lengths = np.diff(offsets)
    if positions.shape != lengths.shape or (positions < 0).any() or (positions >= lengths).any():
        raise ParameterError("Every prompt needs the position of its entity's last token.")
    sequences = [read_batch(ids, offsets, np.array([at]), lm.device) for at in range(len(lengths))]
    streams = [states_after(lm, sequence, layer) for sequence in sequences]  # [1, T, d] each
    ends = [states[0, at] for states, at in zip(streams, positions, strict=True)]
    norm = torch.stack(ends).float().norm(dim=1).mean().cpu()
    none = torch.zeros(1, lm.d_model)
    pushes = torch.cat([none, norm * _pushes(lm, directions, strengths)])  # [1 + C, d]

    found = []
    for prompt in progress(range(len(lengths)), "steering"):
        sequence, states = sequences[prompt], streams[prompt]
        for group in torch.split(pushes, max(1, token_budget // sequence.shape[1])):
            moved = states.repeat(len(group), 1, 1)  # [B, T, d]
            moved[:, positions[prompt]] += group.to(moved)
            with going_on_after(lm, layer, moved):
                found.append(_log_odds(lm, sequence.expand(len(group), -1), (token, against)))
    log_odds = torch.cat(found).view(len(lengths), -1).double()  # [n, 1 + C]
    untouched, pushed = log_odds[:, :1], log_odds[:, 1:]
    conditions = pl.DataFrame(
        [(name, float(strength)) for name in directions for strength in strengths],
        schema={"direction": pl.String, "strength": pl.Float64},
        orient="row",
    )
    prompts = pl.DataFrame({"prompt": np.arange(len(lengths))})
    return prompts.join(conditions, how="cross", maintain_order="left_right").with_columns(
        log_odds=pushed.flatten().numpy(), effect=(pushed - untouched).flatten().numpy()
    )


def _pushes(
    lm: LanguageModel,
    directions: Mapping[str, NDArray[np.floating]],
    strengths: Sequence[float],
) -> Tensor:
    """Return α · u for every direction and strength, strengths fastest, [C, d]."""
    for name, direction in directions.items():
        if direction.shape != (lm.d_model,) or not np.linalg.norm(direction) > 0:
            raise ParameterError(f"Direction {name!r} is not a non-zero vector of {lm.d_model}.")
    stacked = torch.from_numpy(np.stack([np.asarray(u, np.float32) for u in directions.values()]))
    units = torch.nn.functional.normalize(stacked, dim=1)
    pushes = torch.tensor(list(strengths))[None, :, None] * units[:, None]
    return pushes.flatten(0, 1)


def _log_odds(lm: LanguageModel, ids: Tensor, tokens: tuple[int, int]) -> Tensor:
    """Return log p(first) − log p(second) of the next token of ``ids`` [B, T], CPU, [B]."""
    log_probs = next_log_probs(lm, ids)
    return (log_probs[:, tokens[0]] - log_probs[:, tokens[1]]).cpu()
