import pytest
import torch

from okml.seqrec.backbone import Backbone
from okml.seqrec.models import bert4rec, esasrec, gsasrec, hstu, mamba4rec, sasrec

PRESETS = [sasrec, gsasrec, esasrec, hstu, mamba4rec, bert4rec]


@pytest.mark.parametrize("preset", PRESETS)
def test_it_builds_a_network_that_runs(preset):
    settings = preset(length=8)
    model = Backbone(20, settings).eval()
    items = torch.randint(1, 21, (2, 8))
    hidden = model.last(items, times=torch.arange(16).reshape(2, 8), padded=False)
    assert hidden.shape == (2, settings.width)
    assert hidden.isfinite().all()


def test_changes_are_checked():
    assert sasrec(width=64).width == 64
    with pytest.raises(ValueError, match="breadth"):
        sasrec(breadth=64)
    with pytest.raises(ValueError, match="multiple"):
        hstu(heads=3)
