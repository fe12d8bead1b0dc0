"""What embedding an item takes, by counting: the digest's "fewer non-linear operations"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from okml.lightsage.network.encoder import LightSAGE
from okml.lightsage.network.settings import EncoderSettings


@dataclass(frozen=True)
class Costs:
    """Counts for one item, and for a training batch.

    Attributes:
        parameters: Of the network.
        relu: ReLU evaluations.
        norms: Vectors that are scaled to length 1.
        nodes: Feature rows that a training step reads for each endpoint of a pair, at most.
    """

    parameters: int
    relu: int
    norms: int
    nodes: int


def count_costs(settings: EncoderSettings, features: int, fan_outs: Sequence[int]) -> Costs:
    """Count the operations of an encoder without learned item vectors.

    Args:
        settings: Of the encoder.
        features: F, width of the node features.
        fan_outs: Neighbors sampled at each hop from the item outward, where it samples.
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
