"""Numbers inside texts: quoted from a record, typed and marked, or found out."""

import pytest

from okml.errors import RecordError
from okml.ledger import Run, estimate_over_seeds, quoting
from okml.ledger.quoting import Quote, plain, typed_results


@pytest.fixture
def _recorded(profile, monkeypatch):
    run = Run(profile, "cpu")
    run.measure("gain", estimate_over_seeds({0: 1.25, 1: 1.25, 2: 1.25}))
    run.compare("gain", "chance", estimate_over_seeds({0: 0.5, 1: 0.5}))
    run.log("words", 12000)
    records = {"cpu": run.record(1.0)}
    monkeypatch.setattr(quoting, "load_record", lambda chapter, scale: records.get(scale))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It gains {measured}`demo.gain@cpu`.", "It gains 1.250 [1.250, 1.250]."),
        ("{measured}`demo.gain@cpu:1`", "1.2 [1.2, 1.2]"),
        ("{measured}`demo.gain-chance@cpu`, no more", "0.500 [0.500, 0.500], no more"),
        ("of {measured}`demo.words@cpu` words", "of 12,000 words"),
        ("{measured}`demo.gain@gpu`", "(not run at gpu)"),
        ("the paper has {paper}`54 %` at {setting}`0.5`", "the paper has 54 % at 0.5"),
        ("nothing to fill", "nothing to fill"),
    ],
)
@pytest.mark.usefixtures("_recorded")
def test_texts_are_filled_from_records(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("quote", "message"),
    [
        ("demo.loss@cpu", "no metric 'loss'"),
        ("demo.gain-letters@cpu", "no difference of 'gain' and 'letters'"),
        ("demo.gain@tpu", "is not chapter.metric@profile"),
        ("gain@cpu", "is not chapter.metric@profile"),
    ],
)
@pytest.mark.usefixtures("_recorded")
def test_what_no_record_has_is_refused(quote, message):
    with pytest.raises(RecordError, match=message):
        plain(f"{{measured}}`{quote}`")


def test_a_quote_names_its_parts():
    assert Quote.parse("add.fd_4-teacher_fd@night:2") == ("add", "fd_4", "teacher_fd", "night", 2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It gains 0.45 to −0.47 in 7 of 20 runs.", ["0.45", "−0.47"]),
        ("A third, 31.9 %, or 12%.", ["31.9 %", "12%"]),
        ("Прирост 0,5 и 1,5 %.", ["0,5", "1,5 %"]),
        ("| arm | 0.5 |", ["0.5"]),
        ("Of 2,048 users in 2023, stage 1 keeps 16.", []),
        ("`x = 0.5`, $p = 0.5$, $$1.5$$ and {math}`0.5`", []),
        ("MovieLens-1.5M, Llama2.5 and SD 1.5 with 95 % intervals", []),
        ("{paper}`0.911` beside {measured}`demo.gain@cpu:2` and {setting}`5 %`", []),
        ("```\n0.5\n```\n[there](https://example.org/0.5)", []),
        ("---\nversion: 0.5\n---\nand 0.7", ["0.7"]),
    ],
)
def test_results_that_nobody_measured_are_found(text, found):
    assert typed_results(text) == found
