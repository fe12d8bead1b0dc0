"""The networks of an arm with their initial weights."""

from __future__ import annotations

from okml.offline_rl.actor import DistilGPT2Actor
from okml.offline_rl.arms import Arm
from okml.offline_rl.critic import Critics, LSTMCritic
from okml.offline_rl.data import Prepared
from okml.offline_rl.decision import DecisionTransformer
from okml.offline_rl.settings import DataSettings
from okml.seqrec.backbone import Backbone
from okml.seqrec.encoder import Encoder
from okml.seqrec.models import Caser, CaserSettings, sasrec

DROPOUT = 0.2  # of SASRec and Caser; their authors' 0.5 learns too slowly for minutes of training


def build_encoder(data: Prepared, arm: Arm, start: Encoder | None) -> Encoder:
    """Return the recommender of an arm.

    Args:
        data: The data set of the training.
        arm: The arm to build.
        start: The pre-trained transformer, for arms that start from it; None for others.
    """
    settings = data.settings
    match arm.model:
        case "sasrec":
            return _sasrec(data.items, settings)
        case "caser":
            return Caser(data.items, CaserSettings(width=settings.caser_width, dropout=DROPOUT))
        case "decision_transformer":
            encoder: DistilGPT2Actor = DecisionTransformer(
                data.items, settings.length, settings.actor, data.training_returns()
            )
        case "transformer":
            actor = settings.actor
            if not arm.language_weights:
                actor = actor.model_copy(update={"language_weights": None})
            encoder = DistilGPT2Actor(data.items, settings.length, actor)
    if arm.start == "stage1":
        assert start is not None
        # The return embedding and bucket borders of a decision transformer keep their values.
        encoder.load_state_dict(start.state_dict(), strict=False)
    return encoder


def _sasrec(items: int, settings: DataSettings) -> Backbone:
    width = settings.sasrec_width
    return Backbone(
        items,
        sasrec(
            length=settings.length, width=width, hidden=width,
            dropout=DROPOUT, attention_dropout=0.0, hidden_dropout=DROPOUT,
        ),
    )  # fmt: skip


def build_critics(data: Prepared) -> Critics:
    """Return untrained critics, each with its own weights."""
    settings = data.settings.critic
    return Critics([LSTMCritic(data.items, settings) for _ in range(settings.count)])
