"""Building the site: pages and executed notebooks are staged, built, checked, then published.

The stage holds copies, so that a build never writes into the sources and shows only notebooks
that were executed from the current code. A file is staged only if it differs, so that Sphinx
reads only changed files again. ``_build/site`` is replaced if all checks pass, and keeps the last
good site otherwise.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import yaml

from okml import notebooks
from okml.chapters import CHAPTERS, Chapter
from okml.errors import OkmlError
from okml.lifeline import end_with_parent
from okml.paths import atomic_write, build_dir, exchange, repository_root
from okml.runtime import allotted_cores
from okml.site import check
from okml.site.claim_pages import claim_sources
from okml.site.history import is_shallow
from okml.site.labels import LISTED
from okml.site.language import NOTEBOOK_PAGES, in_language, twin
from okml.site.pages import HOME
from okml.site.scales import records_of, show_records
from okml.site.translation import notebook_in_russian, untranslated
from okml.steps import announced

REPOSITORY_VARIABLE = "OKML_REPOSITORY_URL"
SITE_VARIABLE = "OKML_SITE_URL"
# The theme tells hosts apart by these parts of their names.
KNOWN_HOSTS = ("github", "gitlab", "bitbucket")
PAGES = "book"
CONFIG, TOC = "_config.yml", "_toc.yml"
SHOWN_WARNINGS = 30
ICON = "_static/favicon.svg"


class BookError(OkmlError):
    """A book that did not build, or a site that did not pass its checks."""


def build(profile: str) -> Path:
    """Build the site from the executed notebooks of a profile, check it, and return its home page.

    Raises:
        BookError: If a notebook is missing, failed or out of date, if Sphinx warns, or if the
            built pages have a defect. The message lists all of them.
    """
    executed = executed_notebooks(profile)
    if is_shallow(repository_root()):
        print(
            "This clone is shallow, so the site's feed of verdicts will be empty: "
            "`git fetch --unshallow` brings the history.",
            file=sys.stderr,
        )
    stage = build_dir() / "stage"
    if _sync(staged_files(executed), stage):
        # Sphinx would leave the page of a removed source, and links to it would pass the checks.
        shutil.rmtree(build_dir() / "book", ignore_errors=True)
    with announced(f"Building the site ({profile})"):
        built = _run_jupyter_book(stage)
        problems = check.problems(built)
    for warning in check.large_pages(built):
        print(warning, file=sys.stderr)
    if problems:
        raise BookError(
            f"The built site has {len(problems)} defects:\n" + "\n".join(problems),
            f"The pages are kept in {built}.",
        )
    return _publish(built, build_dir() / "site")


def executed_notebooks(profile: str) -> dict[str, Path]:
    """Return the paths of the executed notebooks, by their names, of the chapters that have some.

    Raises:
        BookError: If one is missing, failed, or comes from other code or parameters.
    """
    jobs = [
        job
        for chapter in map(Chapter, CHAPTERS)
        if chapter.notebook.exists()  # a folder without any is no checkout, as is said later
        for job in notebooks.prepare_all(chapter, profile, {})
    ]
    stale = dict.fromkeys(job.chapter.name for job in jobs if not notebooks.is_current(job))
    if stale:
        names = ", ".join(stale)
        raise BookError(
            f"Not executed, failed, or out of date at {profile}: {names}.",
            f"Run `okml run {' '.join(stale)} --profile {profile}` first.",
        )
    return {job.name: job.output for job in jobs}


def staged_files(executed: dict[str, Path]) -> dict[str, bytes]:
    """Return the files of the stage by path: configuration, pages, notebooks, pages of claims.

    Notebooks show the figures of recorded runs before their own, and each is staged with its words
    in both languages. A label without a Russian form is shown in English and named on standard
    error; a test of the stage fails for it.

    Args:
        executed: The paths of the executed notebooks, by their names.

    Returns:
        The content of each file by its path from the root of the stage.

    Raises:
        BookError: If the folder is no checkout, or the theme cannot link to the repository's files.
    """
    root = repository_root()
    if missing := [name for name in (CONFIG, TOC) if not (root / name).is_file()]:
        raise BookError(f"{root} has no {' and no '.join(missing)}: it is no checkout of okml.")
    files = {
        CONFIG: _configuration(root / CONFIG),
        TOC: (root / TOC).read_bytes(),
    }
    for path in sorted((root / PAGES).rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.parts[-2:]):
            files[path.relative_to(root).as_posix()] = path.read_bytes()
    lacking: set[str] = set()
    chapters = [name for name in CHAPTERS if _own(name, executed)]
    with _on_each_core(len(chapters)) as apply:
        for own, without in apply(partial(_files_of, executed=executed), chapters):
            files |= own
            lacking |= without
    if lacking:
        print(f"{LISTED} lacks: {'; '.join(sorted(lacking))}", file=sys.stderr)
    return files


def _own(chapter: str, executed: Mapping[str, Path]) -> list[str]:
    """Return the names of a chapter's executed notebooks."""
    return [path.stem for path in Chapter(chapter).notebooks if path.stem in executed]


def _files_of(chapter: str, executed: Mapping[str, Path]) -> tuple[dict[str, bytes], set[str]]:
    """Return the staged pages of a chapter's claims and notebooks, and labels without Russian."""
    files, lacking, records = claim_sources(chapter), set[str](), records_of(chapter)
    for name in _own(chapter, executed):
        notebook = prepared(nbformat.read(executed[name], as_version=4))
        show_records(notebook, records)
        page = f"{NOTEBOOK_PAGES}{name}"
        committed = nbformat.read(repository_root() / f"{page}.ipynb", as_version=4)
        files[f"{page}.ipynb"] = nbformat.writes(notebook).encode()
        russian = notebook_in_russian(notebook, committed)
        if russian is not None:
            files[f"{twin(page)}.ipynb"] = nbformat.writes(russian).encode()
            lacking |= untranslated(notebook)
    return files, lacking


@contextmanager
def _on_each_core(tasks: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a ``map`` whose tasks run in one fork for each core, or here if one is enough.

    This process has drawn and computed nothing yet, so no thread of a library is lost in a fork.
    """
    forks = min(tasks, allotted_cores()) if sys.platform == "linux" else 1
    if forks < 2:
        yield map
        return
    with ProcessPoolExecutor(forks, get_context("fork"), end_with_parent) as processes:
        yield processes.map


def _configuration(path: Path) -> bytes:
    """Return the book's configuration, with the addresses of repository and site, if given.

    Raises:
        BookError: If the theme cannot link to the repository's files.
    """
    repository, site = os.environ.get(REPOSITORY_VARIABLE), os.environ.get(SITE_VARIABLE)
    if not repository and not site:
        return path.read_bytes()
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if repository:
        parts = urlsplit(repository)
        known = any(host in parts.netloc.lower() for host in KNOWN_HOSTS)
        if not known or parts.path.strip("/").count("/") < 1:
            raise BookError(
                f"{REPOSITORY_VARIABLE} is {repository!r}, "
                "and the site cannot link to files there.",
                "Give https://HOST/OWNER/NAME, where the name of the host says whether it is "
                "GitHub, GitLab or Bitbucket; or leave it empty, and the site names files without "
                "links.",
            )
        config["repository"]["url"] = repository
        config["html"] |= {"use_repository_button": True, "use_edit_page_button": True}
    if site:
        config["html"]["baseurl"] = site
    return yaml.safe_dump(config, allow_unicode=True).encode()


def prepared(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Prepare an executed notebook for the site.

    The cell with injected parameters is folded, and lines of progress are left out.

    Args:
        notebook: The notebook, which is changed in place and returned.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = notebooks.without_progress(cell.outputs)
        tags = cell.metadata.get("tags", [])
        if notebooks.INJECTED in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
    return notebook


def _sync(files: dict[str, bytes], stage: Path) -> bool:
    """Make ``stage`` hold exactly these files and leave equal ones; tell if any were removed."""
    there = [path for path in stage.rglob("*") if path.is_file()]
    gone = [path for path in there if path.relative_to(stage).as_posix() not in files]
    for path in gone:
        path.unlink()
    for name, content in files.items():
        path = stage / name
        if not path.exists() or path.read_bytes() != content:
            with atomic_write(path, "wb") as handle:
                handle.write(content)
    return bool(gone)


def _run_jupyter_book(stage: Path) -> Path:
    """Run Jupyter Book, warnings fatal, and return the folder of the pages."""
    if find_spec("jupyter_book") is None:
        raise BookError(
            "jupyter-book is not installed here.",
            "Install the book extra: pip install -e '.[book]'.",
        )
    built = build_dir() / "book" / "_build" / "html"
    jobs = str(allotted_cores())
    done = subprocess.run(
        [sys.executable, "-m", "okml.site.builder", str(stage), str(built), jobs],
        cwd=repository_root(),
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=end_with_parent,
    )
    log = build_dir() / "book.log"
    with atomic_write(log) as handle:
        handle.write(done.stdout + done.stderr)
    if done.returncode:
        raise BookError(_warnings(done.stdout + done.stderr), f"The whole log is {log}.")
    with atomic_write(built / "index.html") as handle:
        handle.write(_entrance(built))
    return built


def _entrance(built: Path) -> str:
    """Return the page at the root, which leads on to the home page in the reader's language.

    Jupyter Book's own page has neither a language nor a title. For a page without an icon a browser
    requests ``/favicon.ico``, which is not there.
    """
    icon = f'<link rel="icon" href="{ICON}">\n' if (built / ICON).exists() else ""
    home, russian = f"{HOME}.html", f"{in_language(HOME, 'ru')}.html"
    if not (built / russian).exists():
        russian = home
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>okml</title>
{icon}<script>location.replace(/^ru/i.test(navigator.language) ? "{russian}" : "{home}");</script>
<noscript><meta http-equiv="refresh" content="0; url={home}"></noscript></head>
<body><a href="{home}">English</a> · <a href="{russian}" lang="ru">Русский</a></body>
</html>
"""


def _warnings(log: str) -> str:
    """Return the warnings and errors of a build log."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    lines = [
        line
        for line in plain.splitlines()
        if re.search(r"\b(WARNING|ERROR|CRITICAL|Exception occurred):", line)
    ]
    unique = list(dict.fromkeys(lines))
    if not unique:  # a crash: take the last lines of the log without the stack frames
        unique = [line for line in plain.splitlines() if line[:1].strip()][-SHOWN_WARNINGS:]
    return "The book did not build cleanly:\n" + "\n".join(unique[:SHOWN_WARNINGS])


def _publish(built: Path, site: Path) -> Path:
    """Replace the last site by a copy of the checked pages."""
    fresh, old = site.with_name(".site.new"), site.with_name(".site.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(built, fresh)
    if site.exists() and not exchange(fresh, site):
        site.rename(old)  # the site is missing for a moment
    if not site.exists():
        fresh.rename(site)
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    return site / "index.html"
