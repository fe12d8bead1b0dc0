"""The networks of an arm with their initial weights, and the objective of Caser's authors."""

from __future__ import annotations

from torch import Tensor

from okml.offline_rl.actor import DistilGPT2Actor
from okml.offline_rl.arms import Arm
from okml.offline_rl.critic import Critics, LSTMCritic
from okml.offline_rl.data import MDPDataset
from okml.offline_rl.decision import DecisionTransformer
from okml.seqrec.backbone import Backbone
from okml.seqrec.batches import CausalBatch
from okml.seqrec.encoder import Encoder
from okml.seqrec.models import Caser, CaserSettings, sasrec
from okml.seqrec.tasks import Objective

DROPOUT = 0.2  # SASRec's and Caser's; the authors' 0.5 learns too slowly for minutes of training
CASER_TARGETS = 3  # T of Caser's authors: the next three items are all positive


def build_encoder(data: MDPDataset, arm: Arm, start: Encoder | None) -> Encoder:
    """Return the recommender of an arm.

    ``start`` is the pre-trained transformer, for arms that start from it.
    """
    settings = data.settings
    if arm.model == "sasrec":
        width = settings.sasrec_width
        sizes = sasrec(
            length=settings.length, width=width, hidden=width,
            dropout=DROPOUT, attention_dropout=0.0, hidden_dropout=DROPOUT,
        )  # fmt: skip
        return Backbone(data.items, sizes)
    if arm.model == "caser":
        return Caser(data.items, CaserSettings(width=settings.caser_width, dropout=DROPOUT))
    actor = settings.actor
    if not arm.language_weights:
        actor = actor.model_copy(update={"language_weights": None})
    given = (data.items, settings.length, actor)
    if arm.method == "return_conditioned":
        encoder: DistilGPT2Actor = DecisionTransformer(*given, data.training_returns())
    else:
        encoder = DistilGPT2Actor(*given)
    if arm.from_stage1:
        assert start is not None
        # The return embedding and bucket borders of a decision transformer keep their values.
        encoder.load_state_dict(start.state_dict(), strict=False)
    return encoder


def build_critics(data: MDPDataset) -> Critics:
    """Return untrained critics, each with its own weights."""
    settings = data.settings.critic
    return Critics([LSTMCritic(data.items, settings) for _ in range(settings.count)])


class NextFew(Objective):
    """The mean loss of the next few items after each position, Caser's original objective."""

    def forward(self, batch: CausalBatch) -> Tensor:
        """Return the mean loss over targets, up to three for each position."""
        hidden = self.encoder(batch.items, batch.times, batch.padded)  # [b, n, d]
        matrix = self.encoder.item_matrix()
        n = hidden.shape[1]
        total: Tensor = hidden.new_zeros(())
        count = batch.targets.new_zeros(())
        for ahead in range(min(CASER_TARGETS, n)):
            targets = batch.targets[:, ahead:]
            negatives = batch.negatives
            if negatives is not None and negatives.ndim > 1:
                negatives = negatives[:, ahead:]
            real = (targets != 0).sum()
            loss = self.loss(hidden[:, : n - ahead], matrix, targets, negatives)
            total, count = total + loss * real, count + real
        return total / count.clamp_min(1)
