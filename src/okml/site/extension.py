"""The Sphinx extension of the book: ``okml.site.extension``."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from myst_nb.sphinx_ext import add_global_html_resources
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from okml.chapters import CHAPTERS
from okml.errors import OkmlError
from okml.paths import repository_root
from okml.site import (
    assets,
    cards,
    claim_pages,
    data_names,
    dependencies,
    domain,
    feed,
    history,
    labels,
    markup,
    opening,
    pages,
    pictures,
    repository,
    scales,
    sharing,
    view,
)
from okml.site import status as run_status
from okml.site.benchmarks import Benchmarks, GpuCheckTable, KillsTable
from okml.site.findings import Findings
from okml.site.roles import ROLES, LedgerRole, finish_marks
from okml.site.search import setup_search
from okml.site.tables import ClaimsTable, Scoreboard, Verdicts
from okml.site.targets import SpeedTargets
from okml.site.trials import AddTrialsTable, TieTrialTable

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
DIRECTIVES = {
    "add-trials": AddTrialsTable,
    "benchmark": Benchmarks,
    "chapter-cards": cards.ChapterCards,
    "claim-page": claim_pages.ClaimPage,
    "claims-table": ClaimsTable,
    "findings": Findings,
    "gpu-check": GpuCheckTable,
    "kills": KillsTable,
    "run-status": run_status.RunStatus,
    "scoreboard": Scoreboard,
    "speed-targets": SpeedTargets,
    "tie-trial": TieTrialTable,
    "verdicts": Verdicts,
}


def _code_hash() -> str:
    """Return a hash of what renders pages, code and labels: a change makes every page stale."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256((repository_root() / labels.LISTED).read_bytes())
    for folder in ("ledger", "site"):
        for path in sorted([*(package / folder).glob("*.py"), *(package / folder).glob("*.yml")]):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _configure(app: Sphinx, config: Config) -> None:
    config.html_static_path.append(str(STATIC))
    config.html_search_scorer = str(STATIC / "okml-scorer.js")
    config.templates_path.insert(0, str(TEMPLATES))  # the theme appends its own, too
    config.mathjax_path = f"{assets.MATHJAX}/{assets.STARTUP}"  # where copy_mathjax writes it
    if not config.html_theme_options.get("repository_url"):  # Colab and Binder need it
        config.html_theme_options.pop("launch_buttons", None)


def _drop_thebe(app: Sphinx, config: Config) -> None:
    """Disable live cells: torch does not fit a public kernel, and the loader fails on load.

    Jupyter Book always loads the extension, which adds two scripts to every page.
    """
    handlers = {"init_thebe_core", "update_thebe_context"}
    for listeners in app.events.listeners.values():
        listeners[:] = [
            kept for kept in listeners if getattr(kept.handler, "__name__", "") not in handlers
        ]


def read_in_parallel(app: Sphinx, config: Config) -> None:
    """Declare an extension safe for pages that are read in several processes.

    It does not say so itself. It numbers the tables of contents after all pages have been read,
    and the book has no such numbers.
    """
    if (numbering := app.extensions.get("sphinx_multitoc_numbering")) is not None:
        numbering.parallel_read_safe = True


def copy_cell_styles(app: Sphinx, env: BuildEnvironment) -> None:
    """Copy myst-nb's style sheet before the pages are written; myst-nb copies it after them.

    A page links a style sheet with the checksum of the file, if there is one. Without this copy,
    the pages of a first build differ from those of a later one, also after an interrupted build.
    """
    (Path(app.outdir) / "_static").mkdir(parents=True, exist_ok=True)
    add_global_html_resources(app, None)


def read_ahead(app: Sphinx) -> None:
    """Read claims, records, labels and their history before Sphinx forks what makes the pages.

    Sphinx forks a process for some dozens of pages, and each would read them again.
    """
    view.forget()
    history.verdict_changes(repository_root())
    labels.russian_label("claim")
    for chapter in CHAPTERS:
        with suppress(OkmlError):  # pages that show a record warn of one that cannot be read
            view.rows(chapter)


def write_files(app: Sphinx, failure: Exception | None) -> None:
    """Write the files beside the pages, unless the build failed."""
    if failure is None:
        pictures.drop_old_files(app)
        assets.copy_mathjax(app)
        claim_pages.write_ledger(app)
        feed.write_feeds(app)
        sharing.write_files_for_hosts(app)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the nodes, roles, directives and event handlers with Sphinx."""
    app.add_node(markup.element, html=(markup.visit_element, markup.depart_element))
    app.add_domain(domain.ClaimDomain)
    for name, show in ROLES.items():
        app.add_role(name, LedgerRole(show))
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    app.add_post_transform(pages.RussianNotebookLinks)
    setup_search(app)
    app.add_js_file("okml-keys.js", loading_method="defer")
    app.add_js_file("okml-print.js", loading_method="defer")
    app.add_config_value("okml_code", _code_hash(), "env")
    app.connect("config-inited", _configure)
    app.connect("config-inited", _drop_thebe)
    app.connect("config-inited", read_in_parallel)
    app.connect("builder-inited", read_ahead)
    app.connect("builder-inited", dependencies.write_fingerprints)
    app.connect("builder-inited", assets.only_where_formulas_are)
    app.connect("env-updated", dependencies.pages_with_links)
    app.connect("env-updated", copy_cell_styles)
    app.connect("html-collect-pages", repository.source_pages)
    # Sphinx collects titles, tables of contents and images at the default priority of 500, later.
    app.connect("doctree-read", finish_marks, priority=400)
    app.connect("doctree-read", scales.frame_scales, priority=300)
    app.connect("doctree-read", repository.link_sources)
    app.connect("doctree-read", data_names.name_data)
    app.connect("doctree-read", pictures.move_figures_out, priority=400)
    app.connect("doctree-read", opening.frame_notebook)
    app.connect("html-page-context", pages.page_context)
    # The theme makes the table of contents at the default priority of 500, before.
    app.connect("html-page-context", pages.keep_to_the_language, priority=900)
    app.connect("html-page-context", assets.load_in_parts)
    app.connect("html-page-context", sharing.add_sharing_tags)
    # All other handlers add files before.
    app.connect("html-page-context", assets.load_what_is_used, priority=990)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
