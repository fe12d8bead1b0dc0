import pytest
import torch

from okml.seqrec.places import true_places


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_places_are_those_of_nonzero(share):
    mask = torch.rand(500, generator=torch.Generator().manual_seed(0)) < share
    wanted = mask.nonzero()[:, 0]
    assert torch.equal(true_places(mask, len(wanted)), wanted)


def test_an_empty_mask_has_none():
    assert true_places(torch.zeros(0, dtype=torch.bool), 0).shape == (0,)
