"""Staging: what readers get of an executed notebook, and what is refused."""

import os

import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output

from okml.ledger import load_claims
from okml.ledger.export import claim_page
from okml.site import stage
from okml.site.language import twin
from tests.notebooks import write_notebook


def test_injected_parameters_are_folded():
    cell = new_code_cell("profile = 'cpu'", metadata={"tags": ["injected-parameters"]})
    [ready] = stage.prepared(new_notebook(cells=[cell])).cells
    assert ready.metadata["tags"] == ["injected-parameters", "hide-input"]


def test_lines_of_progress_are_no_outputs():
    table = new_output("execute_result", data={"text/plain": "1"})
    progress = new_output("stream", text="judging the arms …\njudging the arms: 3.6 s\n")
    said = new_output("stream", text="judging the arms …\nthey are equal\n")
    cell = new_code_cell(outputs=[progress, said, table])
    [ready] = stage.prepared(new_notebook(cells=[cell])).cells
    assert ready.outputs == [{**said, "text": "they are equal\n"}, table]


def test_equal_files_keep_their_times_and_stale_ones_go(tmp_path):
    stage._sync({"a.md": b"1", "sub/b.md": b"2"}, tmp_path)
    for name in ("a.md", "sub/b.md"):
        os.utime(tmp_path / name, (1, 1))
    stage._sync({"a.md": b"1", "sub/c.md": b"3"}, tmp_path)
    assert (tmp_path / "a.md").stat().st_mtime == 1
    assert not (tmp_path / "sub/b.md").exists()
    stage._sync({"a.md": b"new"}, tmp_path)
    assert (tmp_path / "a.md").read_bytes() == b"new"
    assert (tmp_path / "a.md").stat().st_mtime > 1


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository with one page and no chapter."""
    monkeypatch.setattr(stage, "CHAPTERS", ())
    monkeypatch.setenv("OKML_ROOT", str(tmp_path))
    monkeypatch.delenv("OKML_REPOSITORY_URL", raising=False)
    for folder in ("book/_static", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    config = {"title": "okml", "repository": {"url": ""}, "html": {"favicon": ""}}
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (tmp_path / "book/index.md").write_text("# Home\n")
    (tmp_path / "book/.index.md.swp").write_text("an editor's own")
    return tmp_path


@pytest.mark.parametrize("state", ["missing", "failed", "stale"])
def test_a_notebook_that_was_not_executed_from_this_code_stops_the_build(root, state, monkeypatch):
    monkeypatch.setattr(stage, "CHAPTERS", ("space_time",))
    write_notebook(root / "notebooks/space_time.ipynb")
    job = stage.notebooks.prepare(stage.Chapter("space_time"), "smoke", {})
    if state != "missing":
        key = job.key if state == "failed" else "another"
        failed = {"exception": state == "failed"}
        write_notebook(job.output, okml={"key": key, "profile": "smoke"}, papermill=failed)
    with pytest.raises(stage.BookError, match="okml run space_time --profile smoke"):
        stage.build("smoke")


def test_labels_without_a_russian_form_are_named_whichever_chapter_shows_them(
    root, monkeypatch, capsys
):
    names = ("space_time", "strec")
    monkeypatch.setattr(stage, "CHAPTERS", names)
    monkeypatch.setattr(stage, "allotted_cores", lambda: 1)  # what is patched cannot be sent
    monkeypatch.setattr(stage, "_files_of", lambda name, executed: ({}, {f"a label of {name}"}))
    stage.staged_files({name: root / f"{name}.ipynb" for name in names})
    assert "a label of space_time; a label of strec" in capsys.readouterr().err


def test_a_current_notebook_is_staged_with_the_pages(root, monkeypatch):
    monkeypatch.setattr(stage, "CHAPTERS", ("space_time",))
    write_notebook(root / "notebooks/space_time.ipynb")
    job = stage.notebooks.prepare(stage.Chapter("space_time"), "smoke", {})
    write_notebook(job.output, okml={"key": job.key, "profile": "smoke"}, papermill={})
    files = stage.staged_files(stage.executed_notebooks("smoke"))
    pages = {claim_page(claim.id) for claim in load_claims("space_time")}
    pages |= {twin(page) for page in pages}
    assert {name.removesuffix(".md") for name in files if "/claims/" in name} == pages
    assert sorted(name for name in files if "/claims/" not in name) == [
        "_config.yml",
        "_toc.yml",
        "book/index.md",
        "notebooks/space_time.ipynb",
    ]


def test_chapters_are_staged_side_by_side_as_one_after_the_other(root, monkeypatch):
    names = ("space_time", "strec")
    monkeypatch.setattr(stage, "CHAPTERS", names)
    executed = {name: root / f"notebooks/{name}.ipynb" for name in names}
    for path in executed.values():
        write_notebook(path)
    # What draws from records would start threads of polars here, which no fork could use.
    monkeypatch.setattr(stage, "records_of", lambda chapter: {})
    staged = []
    for cores in (1, 2):
        monkeypatch.setattr(stage, "allotted_cores", lambda cores=cores: cores)
        staged.append(list(stage.staged_files(executed).items()))
    assert staged[0] == staged[1]
    assert {f"notebooks/{name}.ipynb" for name in names} <= dict(staged[1]).keys()


def test_the_repositorys_address_comes_from_the_environment(root, monkeypatch):
    assert yaml.safe_load(stage.staged_files({})["_config.yml"])["repository"]["url"] == ""
    monkeypatch.setenv("OKML_REPOSITORY_URL", "https://gitlab.example.org/team/okml")
    config = yaml.safe_load(stage.staged_files({})["_config.yml"])
    assert config["repository"]["url"] == "https://gitlab.example.org/team/okml"
    assert config["html"] == {
        "favicon": "", "use_repository_button": True, "use_edit_page_button": True,
    }  # fmt: skip
    monkeypatch.setenv("OKML_SITE_URL", "https://example.org/okml/")
    config = yaml.safe_load(stage.staged_files({})["_config.yml"])
    assert config["html"]["baseurl"] == "https://example.org/okml/"


def test_the_log_of_a_failed_build_is_cut_to_its_warnings():
    warning = "a.md:3: WARNING: bad link"
    log = f"reading a\n\x1b[31m{warning}\x1b[0m\nreading b\n{warning}\n"
    assert stage._warnings(log).splitlines()[1:] == [warning]
    assert "RuntimeError: no" in stage._warnings("Traceback\n  File x\nRuntimeError: no\n")


@pytest.mark.parametrize(
    "address", ["https://code.example.org/team/okml", "https://github.com/okml"]
)
def test_a_repository_that_the_site_cannot_link_to_is_said_in_one_message(
    root, monkeypatch, address
):
    monkeypatch.setenv("OKML_REPOSITORY_URL", address)
    with pytest.raises(stage.BookError, match=r"OKML_REPOSITORY_URL is .* cannot link"):
        stage.staged_files({})


@pytest.mark.slow
def test_a_small_book_is_built_and_published_and_a_broken_one_is_not(root):
    index = stage.build("smoke")
    assert index == root / "_build/site/index.html"
    assert (root / "_build/site/book/index.html").exists()
    (root / "book/index.md").write_text("# Home\n\n[gone](gone.md)\n")
    with pytest.raises(stage.BookError, match=r"WARNING.*gone"):
        stage.build("smoke")
    assert "gone" not in (root / "_build/site/book/index.html").read_text()


@pytest.mark.parametrize("there", [True, False])
def test_the_entrance_has_the_icon_and_both_languages_of_the_book(tmp_path, there):
    """A link to what a book does not have would be dead, and its build would fail."""
    also = ("_static/favicon.svg", "book/ru/index.html") if there else ()
    for name in ("book/index.html", *also):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('<html lang="en"><title>Home</title></html>')
    entrance = stage._entrance(tmp_path)
    (tmp_path / "index.html").write_text(entrance)
    assert stage.check.problems(tmp_path) == []
    assert ("favicon.svg" in entrance) == ("book/ru/index.html" in entrance) == there
    assert '"book/index.html"' in entrance


def test_what_was_built_of_a_removed_page_is_gone_before_the_next_build(root, monkeypatch):
    """Sphinx would leave it, and a link to it would pass the checks."""
    page = root / "_build/book/_build/html/book/extra.html"
    found = []

    def make_pages(staged):
        found.append(page.exists())
        page.parent.mkdir(parents=True, exist_ok=True)
        page.touch()
        return page.parents[1]

    monkeypatch.setattr(stage, "_run_jupyter_book", make_pages)
    monkeypatch.setattr(stage.check, "problems", lambda built: [])
    (root / "book/extra.md").write_text("# Extra\n")
    stage.build("smoke")
    stage.build("smoke")
    (root / "book/extra.md").unlink()
    stage.build("smoke")
    assert found == [False, True, False]


def test_pages_with_defects_are_not_published(root, monkeypatch):
    built = root / "built"
    built.mkdir()
    (built / "index.html").write_text("<html><img src='gone.png'><a href='lost.html'>l</a></html>")
    monkeypatch.setattr(stage, "_run_jupyter_book", lambda folder: built)
    with pytest.raises(stage.BookError, match=r"5 defects:\n(.*\n)*.*dead link: lost\.html"):
        stage.build("smoke")
    assert not (root / "_build/site").exists()


def test_a_page_near_the_limit_is_named_and_published(root, monkeypatch, capsys):
    built = root / "built"
    built.mkdir()
    (built / "large.html").write_text("x" * 790_000)
    monkeypatch.setattr(stage, "_run_jupyter_book", lambda folder: built)
    monkeypatch.setattr(stage.check, "problems", lambda built: [])
    stage.build("smoke")
    assert "large.html: 790 kB of HTML" in capsys.readouterr().err
    assert (root / "_build/site/large.html").exists()


@pytest.mark.parametrize("shallow", [True, False])
def test_a_shallow_clone_is_told_what_its_site_lacks(root, monkeypatch, capsys, shallow):
    monkeypatch.setattr(stage, "is_shallow", lambda path: shallow and path == root)
    monkeypatch.setattr(stage, "_run_jupyter_book", lambda folder: folder)
    monkeypatch.setattr(stage.check, "problems", lambda built: ["a defect"])
    with pytest.raises(stage.BookError, match="a defect"):
        stage.build("smoke")
    assert ("git fetch --unshallow" in capsys.readouterr().err) == shallow


def test_a_new_site_takes_the_place_of_the_last_one_in_one_step(tmp_path, monkeypatch):
    built, site = tmp_path / "built", tmp_path / "site"
    built.mkdir()
    for text in ("first", "second", "third"):
        if text == "third":  # where the system cannot exchange two folders
            monkeypatch.setattr(stage, "exchange", lambda one, other: False)
        (built / "index.html").write_text(text)
        assert stage._publish(built, site).read_text() == text
        assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "site"]
        assert [path.name for path in site.iterdir()] == ["index.html"]
        (site / "gone.html").touch()  # a page of this site, which the next one does not have
