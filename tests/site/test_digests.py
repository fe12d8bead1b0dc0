"""What digests and guides tell a reader to run."""

import ast
import json
import re

import polars as pl
import pytest

from okml.chapters import chapter
from okml.lightsage.graph import EVENT_SCHEMA
from okml.paths import repository_root
from okml.plotting import Picture

# Two sessions: A's page leads to B; one query leads to both.
EVENTS = [
    # user, session, ts, item, action, source, from_item, query, episode
    (0, 0, 0, 0, "click", "other", -1, -1, -1),
    (0, 0, 1000, 1, "click", "pdp_rec", 0, -1, -1),
    (1, 1, 0, 0, "click", "search", -1, 5, 0),
    (1, 1, 1000, 1, "click", "search", -1, 5, 0),
    (1, 1, 2000, 2, "click", "feed", -1, -1, -1),
]


@pytest.mark.parametrize("folder", ["", "ru/"])
def test_the_graph_of_a_readers_own_log_is_built_as_the_digest_says(folder, tmp_path, monkeypatch):
    text = (repository_root() / f"book/{folder}digests/lightsage.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    pl.DataFrame(EVENTS, EVENT_SCHEMA, orient="row").write_parquet(tmp_path / "events.parquet")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert set(names["graph"].edges["item"]) == {0, 1}
    assert names["graph"].items == 3


@pytest.mark.parametrize("folder", ["", "ru/"])
def test_the_one_figure_of_the_guide_is_drawn_by_the_call_of_its_notebook(folder, capsys):
    text = (repository_root() / f"book/{folder}guides/gpu.md").read_text("utf-8")
    [code] = re.findall(r"python - <<'END'\n(.*?)END\n", text, re.DOTALL)
    *_, assignment, writing = ast.parse(code).body
    call = ast.get_source_segment(code, assignment.value)
    notebook = json.loads(chapter("periodic_behavior").notebook.read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert any(call in cell for cell in cells)
    names = {}
    exec(code.partition("experiment = ")[0], names)  # the imports and the settings
    assert names["settings"].name == "gpu"
    assert names["settings"].seeds == (0,)
    assert names["settings"].problems == (chapter("periodic_behavior").profile("gpu").main,)
    hours = chapter("periodic_behavior").plan(names["settings"]).hours
    assert capsys.readouterr().out == f"{hours:.1f} hours, by the plan\n"
    assert re.search(rf"(about|около) {hours:.0f} (hours|час)", text)
    assert ast.unparse(assignment.value.func) in names
    assert hasattr(Picture, "png")
    assert ast.unparse(writing).endswith("write_bytes(figure.png)")
