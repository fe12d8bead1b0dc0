"""Networks that leave: what is written, loaded again, and said about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open

from okml.chapters import chapter
from okml.errors import ParameterError, RecordError
from okml.export import (
    CONFIG,
    WEIGHTS,
    ModelExport,
    export_networks,
    load_module,
    model_card,
    module_export,
)
from okml.ledger import load_record
from okml.seqrec.settings import BackboneSettings
from okml.strec.model import STRec
from okml.strec.sampler import SamplerSettings

ARGUMENTS = {
    "items": 9,
    "settings": BackboneSettings(
        length=4, width=8, heads=2, hidden=8, layers=2, causal=False, padding_side="left"
    ),
    "schedule": (3, 1),
    "sampler": SamplerSettings(),
}


@pytest.fixture
def network() -> STRec:
    torch.manual_seed(0)
    return STRec(**ARGUMENTS).eval()


def test_a_network_comes_back_from_safetensors_and_plain_settings(
    network: STRec, tmp_path: Path
) -> None:
    module_export("STRec", network, ARGUMENTS).save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CONFIG, WEIGHTS}
    with safe_open(tmp_path / WEIGHTS, "pt") as weights:
        assert set(weights.keys()) == set(network.state_dict())
    again = load_module(tmp_path)
    assert isinstance(again, STRec)
    assert not again.training
    items, times = torch.tensor([[0, 2, 9, 4], [1, 1, 3, 8]]), torch.arange(8).reshape(2, 4)
    with torch.no_grad():
        found, expected = (each.last(items, times) for each in (again, network))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_only_classes_of_okml_are_built(network: STRec, tmp_path: Path) -> None:
    module_export("STRec", network, ARGUMENTS).save(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, "class": "subprocess.Popen"}))
    with pytest.raises(ParameterError, match=r"subprocess\.Popen is no class of okml"):
        load_module(tmp_path)
    (tmp_path / CONFIG).write_text("[]")
    with pytest.raises(ParameterError, match="holds no network"):
        load_module(tmp_path)


def test_a_card_tells_terms_measurements_and_origin() -> None:
    record = load_record("add", "night")
    assert record is not None
    bases = ("sdxl_base_1.0", "stable_diffusion_2.1_base")
    offered = ModelExport("A student", lambda folder: None, 'load("FOLDER")', "diffusers", bases)
    card = model_card(offered, record)
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "creativeml-openrail++-m"
    assert "stabilityai/stable-diffusion-xl-base-1.0" in head["base_model"]
    assert record.provenance.commit.sha in card
    assert record.sha256 in card
    assert "Noto Emoji, Google" in card  # of the data that the run read
    assert "| One step of the distilled student is far better" in card
    assert json.loads(card.split("```json\n")[1].split("```")[0]) == record.settings


def test_a_run_that_is_not_finished_is_asked_for(tmp_path: Path) -> None:
    found = chapter("strec")
    with pytest.raises(RecordError, match="There is no finished run") as caught:
        export_networks(found, found.profile("smoke"), tmp_path / "to", tmp_path / "run")
    assert "okml run strec --profile smoke" in str(caught.value)
    assert not (tmp_path / "to").exists()


def test_a_record_of_other_settings_is_none(tmp_path: Path) -> None:
    record = load_record("strec", "cpu")
    assert record is not None
    record.write(tmp_path / "record.json")
    found = chapter("strec")
    with pytest.raises(RecordError, match="of other settings"):
        export_networks(found, found.profile("smoke"), tmp_path / "to", tmp_path)
