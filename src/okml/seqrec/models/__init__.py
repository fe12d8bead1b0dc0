"""Sequence encoders: presets of the backbone, and other architectures."""

from okml.seqrec.models.bert4rec import BERT4Rec, ClozeBatches
from okml.seqrec.models.caser import Caser, CaserSettings
from okml.seqrec.models.gru4rec import GRU4Rec, GRU4RecSettings
from okml.seqrec.models.narm import NARM, NARMSettings
from okml.seqrec.models.presets import bert4rec, esasrec, gsasrec, hstu, mamba4rec, sasrec

__all__ = [
    "NARM",
    "BERT4Rec",
    "Caser",
    "CaserSettings",
    "ClozeBatches",
    "GRU4Rec",
    "GRU4RecSettings",
    "NARMSettings",
    "bert4rec",
    "esasrec",
    "gsasrec",
    "hstu",
    "mamba4rec",
    "sasrec",
]
