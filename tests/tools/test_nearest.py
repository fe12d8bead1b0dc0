"""Which tests a change of a module concerns, on the repository itself."""

from tests.tools.nearest import ROOT, nearest_tests

OKML = ROOT / "src/okml"


def test_a_namesake_comes_first_then_its_room_then_others():
    named = nearest_tests(OKML / "seqrec/ranking.py")
    assert named[0] == "tests/seqrec/test_ranking.py"
    assert nearest_tests(OKML / "space_time/experiments/controls.py")[0] == (
        "tests/space_time/test_controls.py"
    )
    in_room = [name.startswith("tests/seqrec/") for name in named]
    assert in_room == sorted(in_room, reverse=True)
    assert "tests/offline_rl/test_gpu_profile.py" in named  # imports it by way of the trainer


def test_a_module_of_no_room_is_tested_by_what_imports_it():
    named = nearest_tests(OKML / "runtime.py")
    assert named[0] == "tests/test_runtime.py"
    assert "tests/site/test_search.py" not in named


def test_a_module_that_is_loaded_by_its_name_is_tested_by_its_room():
    assert set(nearest_tests(OKML / "site/extension.py")) == {
        str(path.relative_to(ROOT)) for path in (ROOT / "tests/site").glob("test_*.py")
    }
