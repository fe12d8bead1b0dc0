from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from okml.errors import DataError, ParameterError, ResourceError
from okml.space_time import activations
from okml.space_time.activations import StoreManifest, open_store, read_store, tokens_hash


@pytest.fixture
def manifest() -> StoreManifest:
    return StoreManifest(
        model="tiny",
        fingerprint="f" * 64,
        data_set="cities & towns",
        prompt="where/is",
        tokens=tokens_hash(np.array([0, 1, 2]), np.array([0, 1, 3])),
        blocks=1,
        entities=2,
        d_model=3,
        parts=2,
        token_budget=8,
        dtype="float32",
        storage="float32",
        device="cpu",
        quantization=None,
    )


def fill(root: Path, manifest: StoreManifest, parts: int = 2) -> Path:
    with open_store(root, manifest) as store, store.writing(flush_seconds=0) as write:
        for part in range(parts):
            write(part, np.s_[:, [part]], np.full((2, 1, 3), part + 1.0, dtype=np.float32))
    return store.folder


def test_a_store_gives_back_what_was_written(tmp_path: Path, manifest: StoreManifest) -> None:
    folder = fill(tmp_path, manifest)
    store = read_store(folder)
    assert store.finished
    assert folder.name == f"cities-towns-where-is-{manifest.key[:16]}"
    np.testing.assert_array_equal(store.layer(-1), [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(store.layer(0), [[1, 1, 1], [2, 2, 2]])
    with pytest.raises(ParameterError, match=r"No layer 1: the store has -1 \(embedding\) to 0"):
        store.layer(1)
    assert not store.states.flags.writeable


def test_an_unfinished_store_says_what_is_missing(tmp_path: Path, manifest: StoreManifest) -> None:
    store = read_store(fill(tmp_path, manifest, parts=1))
    assert store.done.tolist() == [True, False]
    assert not store.finished


def test_flags_are_written_after_the_data(
    tmp_path: Path, manifest: StoreManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = activations._write_flags

    def check(folder: Path, done: np.ndarray) -> None:
        on_disk = np.load(folder / "activations.npy")
        for part in np.flatnonzero(done):
            assert (on_disk[:, part] == part + 1).all()
        real(folder, done)

    with open_store(tmp_path, manifest):
        monkeypatch.setattr(activations, "_write_flags", check)
    fill(tmp_path, manifest)


def test_every_field_is_in_the_key(manifest: StoreManifest) -> None:
    changed = {
        "model": "other",
        "fingerprint": "0" * 64,
        "data_set": "x",
        "prompt": "x",
        "tokens": "x",
        "blocks": 2,
        "entities": 3,
        "d_model": 4,
        "order": "layer-major",
        "parts": 3,
        "token_budget": 9,
        "shared_prefix": 2,
        "dtype": "bfloat16",
        "storage": "float16",
        "device": "cuda",
        "quantization": "int8",
        "torch": "0",
        "transformers": "0",
        "format": 99,
    }
    assert changed.keys() == StoreManifest.model_fields.keys()
    keys = {manifest.model_copy(update={name: value}).key for name, value in changed.items()}
    assert len(keys | {manifest.key}) == len(changed) + 1


def test_tokens_hash_sees_order_cuts_and_not_the_integer_type() -> None:
    ids, offsets = np.array([1, 2, 3], dtype=np.int32), np.array([0, 1, 3])
    base = tokens_hash(ids, offsets)
    assert base == tokens_hash(ids.astype(np.int64), offsets)
    assert base != tokens_hash(ids[::-1], offsets)
    assert base != tokens_hash(ids, np.array([0, 2, 3]))


def damage_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def other_numbers(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(content | {"fingerprint": "0"}))


def unknown_field(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(content | {"surprise": 1}))


def no_array(folder: Path) -> None:
    (folder / "activations.npy").unlink()


def short_array(folder: Path) -> None:
    whole = (folder / "activations.npy").read_bytes()
    (folder / "activations.npy").write_bytes(whole[:-8])


def other_shape(folder: Path) -> None:
    np.save(folder / "activations.npy", np.zeros((2, 2, 4), dtype=np.float32))


def no_flags(folder: Path) -> None:
    (folder / "done.npy").unlink()


def other_flags(folder: Path) -> None:
    np.save(folder / "done.npy", np.ones(5, dtype=bool))


@pytest.mark.parametrize(
    "damage",
    [
        damage_json,
        other_numbers,
        unknown_field,
        no_array,
        short_array,
        other_shape,
        no_flags,
        other_flags,
    ],
)
def test_a_damaged_store_is_refused(
    tmp_path: Path, manifest: StoreManifest, damage: object
) -> None:
    folder = fill(tmp_path, manifest)
    damage(folder)
    with pytest.raises(DataError, match="cannot be used") as caught, open_store(tmp_path, manifest):
        pass
    assert "Delete that folder" in caught.value.hint


def test_a_creation_that_was_cut_off_starts_over(tmp_path: Path, manifest: StoreManifest) -> None:
    folder = tmp_path / manifest.folder_name
    folder.mkdir()
    (folder / "activations.npy").write_bytes(b"half")
    assert read_store(fill(tmp_path, manifest)).finished


def test_a_finished_store_takes_no_more(tmp_path: Path, manifest: StoreManifest) -> None:
    fill(tmp_path, manifest)
    with pytest.raises(ParameterError, match="finished store"):
        fill(tmp_path, manifest)


def test_too_small_a_disk_is_said_before_anything_is_written(
    tmp_path: Path, manifest: StoreManifest
) -> None:
    huge = manifest.model_copy(update={"entities": 10**12})
    with pytest.raises(ResourceError, match="GiB"), open_store(tmp_path, huge):
        pass
    assert not list(tmp_path.rglob("activations.npy"))


def test_delete_leaves_nothing(tmp_path: Path, manifest: StoreManifest) -> None:
    folder = fill(tmp_path, manifest)
    read_store(folder).delete()
    assert not folder.exists()


def test_a_second_writer_waits_and_finds_the_store_finished(
    tmp_path: Path, manifest: StoreManifest
) -> None:
    found = []

    def second() -> None:
        with open_store(tmp_path, manifest) as store:
            found.append(store.finished)

    with open_store(tmp_path, manifest) as store:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.3)
        assert thread.is_alive()
        assert found == []
        with store.writing(flush_seconds=60) as write:
            for part in range(2):
                write(part, np.s_[:, [part]], np.ones((2, 1, 3), dtype=np.float32))
    thread.join(timeout=10)
    assert found == [True]
