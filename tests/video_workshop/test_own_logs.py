"""The small logs are the same in every test."""

from __future__ import annotations

import itertools
from pathlib import Path
from unittest import mock

from tests.video_workshop import own_logs


def test_each_call_writes_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for second, name in enumerate("ab"):
        with mock.patch("time.time", side_effect=itertools.count(1e9 * second)):
            archive = own_logs.kuairand("Pure", users=2, videos=5)
        encoder = own_logs.sentence_encoder(tmp_path / name)
        files = {path.name: path.read_bytes() for path in encoder.iterdir()}
        assert "model.safetensors" in files
        written.append((archive, files))
    assert written[0] == written[1]
