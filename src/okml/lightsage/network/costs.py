"""Operation counts of embedding an item: the digest's "fewer non-linear operations"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from okml.lightsage.network.encoder import LightSAGE
from okml.lightsage.network.settings import EncoderSettings


@dataclass(frozen=True)
class Costs:
    """The operation counts of one item, and the reads of a training step.

    Attributes:
        parameters: Number of parameters of the network.
        relu: Number of ReLU evaluations.
        norms: Number of vectors scaled to length 1.
        nodes: Largest number of feature rows that a training step reads per endpoint of a pair.
    """

    parameters: int
    relu: int
    norms: int
    nodes: int


def count_costs(settings: EncoderSettings, features: int, fan_outs: Sequence[int]) -> Costs:
    """Count the operations of an encoder without learned item vectors.

    Args:
        settings: Architecture of the encoder.
        features: Number of node features F.
        fan_outs: Number of neighbors sampled at each hop from the item outward.
    """
    encoder = LightSAGE(settings, features)
    parameters = sum(p.numel() for p in encoder.parameters())
    hops = fan_outs[: settings.layers] if settings.sampled else ()
    reached = [1]  # nodes of each hop
    for fan in hops:
        reached.append(reached[-1] * fan)
    # Layer l (from 1) is computed for the nodes that are at most L - l hops away.
    computed = [
        sum(reached[: settings.layers - layer]) if settings.sampled else 1
        for layer in range(settings.layers)
    ]
    relu = sum(
        count * settings.width
        for convolution, count in zip(encoder.hops, computed, strict=True)
        if convolution.activation
    )
    norms = sum(computed) if settings.normalize_layers else 0
    return Costs(
        parameters=parameters,
        relu=relu + settings.width * settings.head,
        norms=norms + 1,
        nodes=sum(reached) if settings.sampled else 1 + (settings.layers > 0),
    )
