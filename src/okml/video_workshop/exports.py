"""The network that the chapter offers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from okml.export import ModelExport, module_export
from okml.video_workshop.common.data import ActionSet
from okml.video_workshop.common.table import IdTable
from okml.video_workshop.common.user_model import UserModel
from okml.video_workshop.experiment import Rooms
from okml.video_workshop.settings.users import UserModelSettings
from okml.video_workshop.users.arms import the_base


class ServedUserModel(UserModel):
    """A user model whose item vectors are rows, whatever table they were trained in.

    Args:
        items: Number of items, numbered from 1.
        signals: Names of the signals of an action.
        members: Whether action ``a`` has signal ``s``, ``[actions + 1, signals]``.
        positive: Signals that make an event a success.
        genres: Number of genres.
    """

    def __init__(
        self,
        items: int,
        settings: UserModelSettings,
        signals: tuple[str, ...],
        members: list[list[bool]],
        positive: tuple[str, ...],
        genres: int,
    ) -> None:
        kinds = ActionSet(signals, np.array(members), positive)
        super().__init__(IdTable(items, settings.width), settings, kinds, genres)


def exports(study: Rooms) -> dict[str, ModelExport]:
    """Return the pre-trained user model of the first seed; items and actions are as in its log."""
    profile, users = study.profile, study.users
    trained = users.pretrained(the_base(profile.users), profile.seeds[0]).module.model
    arguments: dict[str, Any] = {
        "items": trained.table.items,
        "settings": trained.settings,
        "signals": trained.kinds.signals,
        "members": trained.kinds.members.tolist(),
        "positive": trained.kinds.positive,
        "genres": users.genres.shape[1],
    }
    served = ServedUserModel(**arguments)
    weights = {n: w for n, w in trained.state_dict().items() if not n.startswith("table.")}
    with torch.no_grad():
        served.load_state_dict(weights | {"table.rows.weight": trained.item_matrix()})
    title = f"A user model, pre-trained to predict the next event, on {profile.data.log}"
    return {f"video_workshop_{profile.data.log}": module_export(title, served, arguments)}
