import time

import pytest

from okml import steps
from okml.errors import RecordError
from okml.steps import announced


def test_what_takes_a_while_is_announced_and_timed(monkeypatch, capsys):
    monkeypatch.setattr(steps, "QUIET_S", 0.0)
    printed = ""
    with announced("training"):
        for _ in range(1000):
            if printed := capsys.readouterr().out:
                break
            time.sleep(0.01)
    assert printed == "training …\n"
    assert capsys.readouterr().out.startswith("training: ")


def test_what_ends_at_once_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(steps, "QUIET_S", 60.0)
    with announced("kept training"):
        pass
    assert capsys.readouterr().out == ""


def test_an_error_leaves_no_line_for_later(monkeypatch, capsys):
    monkeypatch.setattr(steps, "QUIET_S", 0.2)
    with pytest.raises(RecordError), announced("training"):
        raise RecordError("no data")
    time.sleep(0.4)
    assert capsys.readouterr().out == ""
