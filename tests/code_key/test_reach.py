"""What an edit makes stale, and what it leaves alone."""

import shutil
import subprocess
import sys
import textwrap
from importlib import metadata

import pytest

from okml.chapters import CHAPTERS
from okml.code_key import Sources, code_key_of, full_name, package_sources, reach
from tests.code_key.packages import FILES, write_package

QUALITY, SERVING = "tiny.experiments.quality.measure", "tiny.experiments.serving.measure"
TRAINING = "tiny.study.Study.train"
ENTRIES = {
    "quality": (QUALITY, "tiny.study.Study"),
    "serving": (SERVING, "tiny.study.Study"),
    "training": (TRAINING,),
}


@pytest.fixture
def tiny(tmp_path):
    """Return a function that writes the package of two experiments on one study."""
    return lambda **files: write_package(tmp_path / "tiny", FILES | files)


def keys(sources):
    return {name: sources.reach(*entries).key() for name, entries in ENTRIES.items()}


def stale_after(tiny, file, old, new):
    before = keys(tiny())
    assert old in textwrap.dedent(FILES[file])
    after = keys(tiny(**{file: textwrap.dedent(FILES[file]).replace(old, new)}))
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("maths.py", "# of everything", "# of everything, as in the paper"),
        ("maths.py", "    return FACTOR * x", "\n    # the product\n    return (\n  FACTOR*x)"),
        ("maths.py", '"""Return x, scaled."""', '"""Scale."""'),
        ("maths.py", '    """Return x, scaled."""\n', ""),
        ("maths.py", "(x: float) -> float:", "(x):"),
        ("maths.py", "FACTOR = 2", "FACTOR: int = 2"),
        ("maths.py", "    return 0", "    return 1"),  # a function that nobody calls
        ("maths.py", "def forgotten", "def renamed"),
        ("study.py", "import numpy as np", "import numpy as np, random"),
        ("study.py", "seed: int = 0) -> Network", "seed=0)"),
        ("figures/curve.py", "return x", "return 2 * x"),
        ("experiments/quality.py", "measure(study: Study)", "measure(study)"),
    ],
)  # fmt: skip
def test_what_changes_no_number_makes_nothing_stale(tiny, file, old, new):
    assert stale_after(tiny, file, old, new) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("maths.py", "FACTOR = 2", "FACTOR = 3", {"quality", "training"}),
        ("maths.py", "FACTOR * x", "x * FACTOR", {"quality", "training"}),
        ("maths.py", "x + 1", "x + 2", {"serving"}),
        ("model.py", "only torch calls this", "it calls it", {"quality", "training"}),
        ("study.py", "seed: int = 0", "seed: int = 1", {"quality", "training"}),
        ("study.py", "np.sort", "np.argsort", {"serving"}),
        ("study.py", "self.profile = profile", "self.profile = 2 * profile",
         {"quality", "serving", "training"}),
        ("experiments/quality.py", "study.train()", "study.train(3)", {"quality"}),
        ("experiments/serving.py", "study.serve()", "-study.serve()", {"serving"}),
        ("__init__.py", "", "import random\nrandom.seed(0)", {"quality", "serving", "training"}),
    ],
)  # fmt: skip
def test_an_edit_makes_stale_what_reaches_it_and_nothing_else(tiny, file, old, new, stale):
    assert stale_after(tiny, file, old, new) == stale


def test_the_parts_of_a_key_have_the_names_of_functions(tiny):
    parts = tiny().reach(SERVING, "tiny.study.Study").parts
    assert sorted(parts) == [
        SERVING, "tiny.maths.shifted", "tiny.study.Study", "tiny.study.Study.__init__",
        "tiny.study.Study.serve",
    ]  # fmt: skip


def reached(tmp_path, *entries, **files):
    """Return the parts of a package ``p`` that entries reach, without its name."""
    sources = write_package(tmp_path / "p", {"__init__.py": ""} | files)
    return {name.removeprefix("p.") for name in sources.reach(*entries).parts}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from p.b import g\ndef f(): return g()", {"b.g"}),
        ("import p.b\ndef f(): return p.b.g()", {"b.g"}),
        ("import p.b as other\ndef f(): return other.g()", {"b.g"}),
        ("from p import b\ndef f(): return b.g()", {"b.g"}),
        ("from . import b\ndef f(): return b.g()", {"b.g"}),
        ("from .b import g as h\ndef f(): return h()", {"b.g"}),
        ("def f():\n    from p.b import g\n    return g()", {"b.g"}),
        ("from p.passing import g\ndef f(): return g()", {"b.g"}),  # through another module
        ("from p import b\ndef f(): return run(b)", {"b.g", "b.h"}),  # the whole module
        # A package with a module and a function of the same name.
        ("from p.same import g\ndef f(): return g()", {"same.g.other", "b.g"}),
        ("from p.turn import turn\ndef f(): return turn()", {"turn.turn.turn"}),
        ("from p.b import g\ndef f(): return [x for x in g()]", {"b.g"}),
        ("from p.b import g\ndef f(): return [g for g in h]", set()),  # a variable of its own
        ("from p.b import g\ndef f(): return [g for g in g()]", {"b.g"}),
        ("from p.b import g\ndef f(g): return g()", set()),
        ("from p.b import g\ndef f(): g = 1; return g", set()),
        ("from p.b import g\ndef f():\n    def inner(g): return g\n    return g", {"b.g"}),
        ("from p.b import g\ndef f(x=g()): return x", {"b.g"}),
        ("from p.b import g\ndef f(x: g) -> g: return x", set()),
        ("from p.b import g\n@g\ndef f(): return 1", {"b.g"}),
        ("from p.b import g\nTABLE = {'a': g}\ndef f(): return TABLE['a']", {"TABLE", "b.g"}),
        ("from p.b import g\ndef f():\n    match h:\n        case [g]: return g", set()),
        ("from p.b import g\nif True:\n    k = g\ndef f(): return k", {"", "k", "b.g"}),
    ],
)
def test_names_lead_to_what_they_mean(tmp_path, text, expected):
    files = {
        "a.py": text,
        "b.py": "def g(): pass\ndef h(): pass\n",
        "passing.py": "from p.b import g\n",
        "same/__init__.py": "from p.same.g import other\nfrom p.b import g\n",
        "same/g.py": "def other(): pass\n",
        "turn/__init__.py": "from p.turn.turn import turn\n",
        "turn/turn.py": "def turn(): pass\n",
    }
    found = reached(tmp_path, "p.a.f", **files)
    assert found == {"a.f"} | {
        name if "." in name else f"a.{name}".rstrip(".") for name in expected
    }


@pytest.mark.parametrize(
    ("use", "found"),
    [
        ("C().m()", True),
        ("getattr(C(), 'm')()", True),
        ("C()", False),
    ],
)
def test_a_method_counts_once_its_name_is_used(tmp_path, use, found):
    text = f"class C:\n    def m(self): return 1\ndef f(): return {use}"
    assert ("a.C.m" in reached(tmp_path, "p.a.f", **{"a.py": text})) == found


@pytest.mark.parametrize(
    "text",
    [
        "import torch\nclass C(torch.nn.Module):\n    def m(self): return 1",
        "import torch\nclass B(torch.nn.Module): pass\nclass C(B):\n    def m(self): return 1",
        "class C:\n    def __call__(self): return 1\n    m = __call__",
        "class C:\n    @register\n    def m(self): return 1",
    ],
)
def test_what_others_may_call_counts(tmp_path, text):
    found = reached(tmp_path, "p.a.f", **{"a.py": f"{text}\ndef f(): return C()"})
    assert "a.C.m" in found or "a.C.__call__" in found


def test_a_name_that_comes_from_elsewhere_makes_other_code_of_the_same_words(tmp_path):
    both = "from p.b import g\nfrom p.c import h\ndef f(): return g() - h()"
    files = {"a.py": both, "b.py": "def g(): return 1", "c.py": "def h(): return 2"}
    swapped = files | {
        "a.py": "from p.c import h as g\nfrom p.b import g as h\ndef f(): return g() - h()"
    }
    one = write_package(tmp_path / "p", {"__init__.py": "", **files}).reach("p.a.f")
    other = write_package(tmp_path / "p", {"__init__.py": "", **swapped}).reach("p.a.f")
    assert one.parts.keys() == other.parts.keys()
    assert one.key() != other.key()


@pytest.mark.parametrize(("annotation", "same"), [("int", False), ("float", True)])
def test_a_field_is_made_by_its_annotation(tmp_path, annotation, same):
    def key(kind):
        text = f"class C:\n    x: {kind} = 1\ndef f(): return C()"
        return write_package(tmp_path / "p", {"__init__.py": "", "a.py": text}).reach("p.a.f").key()

    assert (key(annotation) == key("float")) == same


def test_a_name_that_is_not_there_is_an_error(tiny):
    with pytest.raises(KeyError):
        tiny().reach("tiny.study.Study.fly")
    with pytest.raises(KeyError):
        tiny().reach("elsewhere.f")


def test_libraries_that_make_numbers_have_their_versions(tiny, monkeypatch):
    code = tiny().reach(SERVING, "tiny.study.Study")
    assert code.versions() == {"numpy": metadata.version("numpy")}
    reach._version.cache_clear()
    monkeypatch.setattr(metadata, "version", lambda name: f"{name} 9")
    assert tiny().reach(TRAINING).versions() == {"torch": "torch 9"}
    reach._version.cache_clear()


@pytest.mark.nightly
def test_comments_and_docstrings_all_over_okml_change_no_key(tmp_path):
    copy = tmp_path / "okml"
    shutil.copytree(package_sources().folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.py"):
        text = path.read_text("utf-8")
        path.write_text(f'"""Other words."""\n\n# A comment.\n{text}# Another one.\n', "utf-8")
    entries = [f"okml.{name}.experiment.Experiment.*" for name in CHAPTERS]
    edited, before = Sources(copy).reach(*entries), package_sources().reach(*entries)
    assert edited.parts == before.parts
    assert len(edited.parts) > 1000


def test_chapters_share_code_and_have_their_own():
    assert len({code_key_of(name) for name in CHAPTERS}) == len(CHAPTERS)


def test_results_reach_no_module_by_a_computed_name():
    entries = [f"okml.{name}.experiment.Experiment.*" for name in CHAPTERS]
    words = package_sources().reach(*entries).words
    assert words.isdisjoint({"import_module", "__subclasses__", "__globals__", "__import__"})


def test_a_function_has_the_name_that_the_sources_give_it():
    assert full_name(Sources.reach) == "okml.code_key.reach.Sources.reach"
    assert full_name(metadata.version) == "importlib.metadata.version"


OTHERS = [path for minor in (11, 12, 13, 14) if (path := shutil.which(f"python3.{minor}"))]


@pytest.mark.parametrize("python", [sys.executable, *OTHERS])
def test_every_process_of_every_python_makes_the_same_key(python):
    chapter = CHAPTERS[-1]
    program = f"from okml.code_key import code_key_of; print(code_key_of({chapter!r}))"
    if subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"{python} does not start")
    # Another order of sets than here, most likely.
    environment = {"PYTHONPATH": str(package_sources().folder.parent), "PYTHONHASHSEED": "7"}
    found = subprocess.run([python, "-c", program], env=environment, capture_output=True, text=True)
    assert found.stdout.split() == [code_key_of(chapter)], found.stderr
