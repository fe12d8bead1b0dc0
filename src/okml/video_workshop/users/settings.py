"""The settings of the user model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from okml.seqrec.settings import BackboneSettings


class UserModelSettings(BaseModel):
    """Sizes of a causal transformer over events; spec 4.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: PositiveInt = 50  # events of a history, T
    width: PositiveInt = 64  # d
    layers: PositiveInt = 2
    heads: PositiveInt = 2
    dropout: float = Field(default=0.2, ge=0, lt=1)
    # fused: one token an event, item and action added up; interleaved: item, action, item, action,
    # ... as in HSTU, twice as long
    tokens: Literal["fused", "interleaved"] = "fused"
    actions: bool = True  # whether tokens tell what the user did; False: the item alone
    requests: bool = True  # whether tokens tell gap and hour of the request they are followed by

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tokens == "interleaved" and not self.actions:
            raise ValueError("interleaved tokens are half actions, so they need actions")
        return self

    @property
    def tokens_of_event(self) -> int:
        """Tokens that one event becomes."""
        return 2 if self.tokens == "interleaved" else 1

    @property
    def backbone(self) -> BackboneSettings:
        """The blocks: pre-norm, causal, a feed-forward network of four times the width."""
        return BackboneSettings(
            length=self.length * self.tokens_of_event,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            hidden=4 * self.width,
            dropout=self.dropout,
        )
