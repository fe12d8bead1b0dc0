"""The networks of an arm, with the weights that it starts from."""

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

DROPOUT = (
    0.2  # of SASRec and Caser; their authors have 0.5, with which little is learned in minutes
)


def build_encoder(data: Prepared, arm: Arm, start: Encoder | None) -> Encoder:
    """Return the recommender of an arm.

    Args:
        data: What it will be trained on.
        arm: Which.
        start: The pre-trained transformer, for arms that start from it.
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
        # A decision transformer has goals and their borders besides, which stay as they are.
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
    """Return fresh critics, each with its own weights."""
    settings = data.settings.critic
    return Critics([LSTMCritic(data.items, settings) for _ in range(settings.count)])
