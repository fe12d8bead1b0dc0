"""The compared arms by name: a model, its initial weights and its training method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from okml.errors import ParameterError
from okml.offline_rl.settings import ArmName, CRRSettings, OfflineRLProfile
from okml.seqrec.losses import AnyLoss, BinarySettings, ChunkedSoftmaxSettings

Model = Literal["transformer", "sasrec", "caser", "decision_transformer"]
Method = Literal["next_item", "clone", "crr", "sqn", "sac", "reinforce", "return_conditioned"]
# scratch: random weights, trained for the epochs of both stages, so that all arms take the same
# number of steps; stage1: from the pre-trained transformer, for the epochs of stage 2.
Start = Literal["scratch", "stage1"]


@dataclass(frozen=True)
class Arm:
    """One recommender of the comparison.

    Attributes:
        name: The unique name.
        label: The name in figures and tables.
        model: The kind of network.
        method: The training method.
        start: The initial weights.
        crr: The settings of CRR, for methods with a Q-function.
        weights: The weights of logged actions, for ``clone``.
        loss: The loss over items, for ``next_item``.
        epochs: The number of epochs, for ``next_item`` from scratch; None for the data's setting.
        start_epochs: The number of epochs of stage 1, for ``stage1``; None for the data's
            setting.
        language_weights: Whether the blocks start from DistilGPT2's weights.
    """

    name: str
    label: str
    model: Model = "transformer"
    method: Method = "next_item"
    start: Start = "stage1"
    crr: CRRSettings | None = None
    weights: Literal["equal", "reward", "wanted"] = "equal"
    loss: AnyLoss | None = None
    epochs: int | None = None
    start_epochs: int | None = None
    language_weights: bool = False


def build_arm(name: ArmName, profile: OfflineRLProfile) -> Arm:
    """Return the arm called ``name``.

    Raises:
        ParameterError: If the arm needs language weights that the profile does not name.
    """
    softmax = ChunkedSoftmaxSettings(chunk_bytes=profile.chunk_bytes)
    crr = profile.crr
    match name:
        case "transformer_only":
            return Arm(name, "stage 1 alone", start="scratch", loss=softmax)
        case "distilgpt2_start":
            if profile.main.actor.language_weights is None:
                raise ParameterError(
                    "The arm distilgpt2_start needs actor.language_weights.",
                    "Name a folder with distilgpt2 of the hub, or leave the arm out.",
                )
            return Arm(
                name, "stage 1 from language weights", start="scratch", loss=softmax,
                language_weights=True,
            )  # fmt: skip
        case "bc_continue":
            return Arm(name, "stage 2, all weights one", method="clone")
        case "reward_bc":
            return Arm(name, "reward as weight", method="clone", weights="reward")
        case "filter_bc":
            return Arm(name, "wanted events only", method="clone", weights="wanted")
        case "crr":
            return Arm(name, "two stages (CRR)", method="crr", crr=crr)
        case "crr_only":
            return Arm(name, "CRR alone", method="crr", start="scratch", crr=crr)
        case "crr_only_binary":
            binary = _variant(crr, filter={"kind": "binary"})
            return Arm(name, "CRR alone, binary", method="crr", start="scratch", crr=binary)
        case "sqn" | "sac":
            return Arm(name, name.upper(), method=name, crr=crr)
        case "topk_reinforce":
            return Arm(name, "top-K REINFORCE", method="reinforce")
        case "decision_transformer":
            return Arm(
                name, "decision transformer", model="decision_transformer",
                method="return_conditioned", loss=softmax,
            )  # fmt: skip
        case "sasrec_bce":
            return Arm(name, "SASRec, 1 negative", "sasrec", start="scratch", loss=BinarySettings())
        case "sasrec_ce":
            return Arm(name, "SASRec, full softmax", "sasrec", start="scratch", loss=softmax)
        case "caser_bce":
            loss = BinarySettings(negatives=1)
            return Arm(name, "Caser, 3 targets", "caser", start="scratch", loss=loss)
        case "caser_ce":
            return Arm(name, "Caser, full softmax", "caser", start="scratch", loss=softmax)
        case _:
            label, changes = _VARIANTS[name]
            return Arm(name, label, method="crr", crr=_variant(crr, **changes))


_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "crr_beta1": ("CRR, β = 1", {"filter": {"kind": "exp", "beta": 1.0}}),
    "crr_binary": ("CRR, binary", {"filter": {"kind": "binary"}}),
    "crr_gamma0": ("CRR, γ = 0", {"gamma": 0.0}),
    "crr_binary_gamma0": ("CRR, binary, γ = 0", {"filter": {"kind": "binary"}, "gamma": 0.0}),
    "crr_mean": ("CRR, mean of 4", {"advantage": {"baseline": "mean"}}),
    "crr_max": ("CRR, max of 4", {"advantage": {"baseline": "max"}}),
    "crr_target_policy": ("CRR, target policy", {"next_action": "target"}),
    "crr_sarsa": ("CRR, logged next action", {"next_action": "logged"}),
    "crr_cql": ("CRR with CQL's term", {"conservative": 1.0}),
}


def _variant(crr: CRRSettings, **changes: Any) -> CRRSettings:
    """Return a validated copy of the settings with some values replaced."""
    return CRRSettings.model_validate(crr.model_dump() | changes)
