"""Residual quantization: a vector becomes a short tuple of codes, coarse to fine."""

from okml.video_workshop.items.quantization.base import Codes, ResidualQuantizer
from okml.video_workshop.items.quantization.kmeans import kmeans
from okml.video_workshop.items.quantization.report import QuantReport, quantization_report
from okml.video_workshop.items.quantization.rqkmeans import RQKMeans
from okml.video_workshop.items.quantization.rqvae import RQVAE, RQVAESettings

__all__ = [
    "RQVAE",
    "Codes",
    "QuantReport",
    "RQKMeans",
    "RQVAESettings",
    "ResidualQuantizer",
    "kmeans",
    "quantization_report",
]
