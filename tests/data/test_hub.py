"""Snapshots, through the true client, from a small hub on this machine."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from okml.data import DataError, fetch, fetched_from, listing, local_model

from .conftest import sha256

COMMIT = "5" * 40
WEIGHTS = bytes(range(256)) * 500
FILES = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b'{"tokens": []}',
    "pytorch_model.bin": b"a pickle",
    "onnx/model.onnx": b"another form",
}


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """What the hub has, and what it serves; the two differ when it is damaged."""

    def __init__(self):
        self.files = dict(FILES)
        self.served = {}
        self.gated = False
        self.requests = []

    def metadata(self):
        siblings = []
        for name, content in self.files.items():
            sibling = {"rfilename": name, "size": len(content), "blobId": git_blob(content)}
            if name.endswith((".safetensors", ".bin")):
                pointer = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
                sibling |= {"lfs": pointer}
            siblings.append(sibling)
        return {"id": "toys/toy", "modelId": "toys/toy", "sha": COMMIT, "siblings": siblings}

    def tree(self):
        return [
            {
                "type": "file",
                "path": sibling["rfilename"],
                "size": sibling["size"],
                "oid": sibling["blobId"],
            }
            | (
                {"lfs": {"oid": sibling["lfs"]["sha256"], **sibling["lfs"]}}
                if "lfs" in sibling
                else {}
            )
            for sibling in self.metadata()["siblings"]
        ]


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            path = self.path.partition("?")[0]
            hub.requests.append(path)
            if hub.gated:
                self.send_response(403)
                self.send_header("X-Error-Code", "GatedRepo")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if path.startswith("/api/models/toys/toy"):
                listed = hub.tree() if "/tree/" in path else hub.metadata()
                content = json.dumps(listed).encode()
                headers = {"Content-Type": "application/json"}
            else:
                name = path.removeprefix(f"/toys/toy/resolve/{COMMIT}/")
                content = hub.served.get(name, hub.files.get(name))
                if content is None:
                    self.send_error(404)
                    return
                large = name.endswith(".safetensors")
                etag = sha256(hub.files[name]) if large else git_blob(hub.files[name])
                headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
            self.send_response(200)
            for header, value in headers.items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield hub
        server.shutdown()
        thread.join()


@pytest.fixture
def toy_model(use_catalog):
    repository = {"repo": "toys/toy", "revision": "main", "approximate_bytes": 128_000}
    snapshot = {"kind": "hub_snapshot", **repository}
    use_catalog({"toy": {"kind": "model", "snapshot": snapshot}})


def test_a_snapshot_brings_safetensors_and_no_pickles(hub, toy_model, cache):
    paths = fetch("toy")
    assert sorted(paths) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert paths["model.safetensors"].read_bytes() == WEIGHTS
    assert sorted(path.name for path in (cache / "toy").iterdir()) == [
        "config.json", "model.safetensors", "provenance.json", "tokenizer.json",
    ]  # fmt: skip
    assert not (cache / "toy.part").exists()
    assert local_model("toy") == cache / "toy"


def test_a_pipeline_brings_the_named_parts(hub, use_catalog, cache):
    hub.files |= {
        "unet/config.json": b"{}",
        "unet/weights.safetensors": WEIGHTS,
        "unet/weights.fp16.safetensors": WEIGHTS[::-1],
        "tokenizer/vocab.json": b"{}",
    }
    snapshot = {
        "kind": "hub_snapshot",
        "repo": "toys/toy",
        "revision": "main",
        "approximate_bytes": 128_000,
        "files": ["unet/config.json", "unet/weights.safetensors", "tokenizer/*"],
    }
    use_catalog({"toy": {"kind": "model", "snapshot": snapshot}})
    paths = fetch("toy")
    wanted = ["tokenizer/vocab.json", "unet/config.json", "unet/weights.safetensors"]
    assert sorted(paths) == wanted
    assert paths["unet/weights.safetensors"].read_bytes() == WEIGHTS
    paths["unet/weights.safetensors"].write_bytes(b"damaged")
    with pytest.raises(DataError, match="is damaged"):
        fetch("toy")
    assert fetch("toy", force=True)["unet/weights.safetensors"].read_bytes() == WEIGHTS
    assert sorted(path.relative_to(cache / "toy").as_posix() for path in paths.values()) == wanted


def test_the_branch_is_resolved_and_the_commit_recorded(hub, toy_model):
    served = fetched_from("toy")
    assert served["config.json"].source == f"hub:toys/toy@{COMMIT}"
    assert served["model.safetensors"].sha256 == sha256(WEIGHTS)
    row, *_ = listing()
    assert (row.state, row.files) == ("here", 3)


def test_a_snapshot_that_is_here_asks_nobody(hub, toy_model, monkeypatch):
    paths = fetch("toy")
    hub.requests.clear()
    monkeypatch.setenv("OKML_OFFLINE", "1")
    assert fetch("toy") == paths
    assert hub.requests == []


def test_a_repository_of_pickles_is_refused(hub, toy_model, cache):
    del hub.files["model.safetensors"]
    with pytest.raises(DataError, match="no safetensors weights"):
        fetch("toy")
    assert not (cache / "toy").exists()


def test_weights_that_differ_from_the_hubs_hash_are_refused(hub, toy_model, cache):
    hub.served["model.safetensors"] = bytes(len(WEIGHTS))
    with pytest.raises(DataError, match=r"model\.safetensors is sha256:"):
        fetch("toy")
    assert not (cache / "toy").exists()
    hub.served.clear()
    assert fetch("toy")["model.safetensors"].read_bytes() == WEIGHTS


def test_damage_is_reported_and_repaired(hub, toy_model, cache):
    path = fetch("toy")["model.safetensors"]
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="is damaged") as caught:
        fetch("toy")
    assert "okml data fetch toy --force" in caught.value.hint
    hub.requests.clear()
    assert fetch("toy", force=True)["model.safetensors"].read_bytes() == WEIGHTS
    assert not [asked for asked in hub.requests if asked.endswith("tokenizer.json")]
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        fetch("toy")


def test_a_gated_repository_says_where_to_ask(hub, toy_model):
    hub.gated = True
    with pytest.raises(DataError, match=r"ask for access on https://huggingface\.co/toys/toy"):
        fetch("toy")
