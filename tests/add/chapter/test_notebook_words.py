"""What the notebook says of its pictures, against the profiles and the record of `night`."""

import json

from okml.add.config import PROFILES
from okml.chapters import chapter
from okml.ledger import load_record


def test_the_pictures_of_each_scale_are_those_that_the_notebook_names():
    (path,) = chapter("add").notebooks
    cells = json.loads(path.read_text("utf-8"))["cells"]
    (row,) = (
        line
        for cell in cells
        for line in cell["source"]
        if line.startswith("| color pictures of {paper}`512` pixels |")
    )
    for name in ("smoke", "cpu"):
        assert [each.images for each in PROFILES[name].sets] == ["digits"]
    digits, emoji = PROFILES["night"].sets
    assert (digits.images, emoji.images) == ("digits", "emoji")
    assert f"gray digits of {{setting}}`{digits.size}` pixels; at `night` also emoji" in row
    assert f"of {{setting}}`{emoji.size}` pixels" in row
    assert "a teacher of emoji alone takes more than half of what all of `cpu` may" in row
    costs = load_record("add", "night").tables["costs"].columns
    trainings = zip(costs["set"], costs["training"], strict=True)
    seconds = dict(zip(trainings, costs["seconds"], strict=True))
    assert seconds["emoji", "teacher"] > 30 * PROFILES["cpu"].budget.minutes
