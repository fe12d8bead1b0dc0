"""The skeleton of a new digest: its files from templates, and its lines in those that list all.

The templates are a whole small chapter, called ``new_digest``, that fits a line. They end in
``.txt`` where a tool would take them for modules of okml.
"""

from __future__ import annotations

import keyword
import re
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from okml.chapters import CHAPTERS, Chapter
from okml.clock import now
from okml.errors import ParameterError
from okml.paths import atomic_write

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 30  # characters, so that lines with the name stay within 100
TITLE = "The title of the paper"


def new_digest(name: str, title: str, root: Path) -> list[Path]:
    """Write the skeleton of a digest into a checkout and list it where all chapters are listed.

    Nothing is written if any of it cannot be.

    Returns:
        The files that were written and changed.

    Raises:
        ParameterError: If the name or the title cannot be used, a file is there already, or a list
            of chapters is not as expected.
    """
    _check(name, title)
    files = {root / path: text for path, text in _files(name, title).items()}
    if there := [path for path in files if path.exists()]:
        raise ParameterError(f"{there[0]} is there already.", "Choose another name.")
    files |= _listed(name, title, root)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as handle:
            handle.write(text)
    return list(files)


def _check(name: str, title: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > LONGEST_NAME:
        raise ParameterError(
            f"A digest cannot be called {name!r}.",
            f"Choose a snake_case name of at most {LONGEST_NAME} letters, such as space_time.",
        )
    if find_spec(f"okml.{name}") is not None:
        raise ParameterError(f"okml.{name} is there already.", "Choose another name.")
    if not title.isprintable() or not title.strip() or set(title) & set('"\\|`'):
        raise ParameterError(f"The title {title!r} has no letters, or quotes, bars or backslashes.")


def _files(name: str, title: str) -> dict[str, str]:
    """Return the files of the digest by their places in the checkout."""
    folder = resources.files("okml.skeleton") / "templates"
    places = {
        "digest.en.md": f"book/digests/{name}.md",
        "digest.ru.md": f"book/ru/digests/{name}.md",
        "notebook.ipynb.txt": f"notebooks/{name}.ipynb",
    }
    for part, place in (("package", f"src/okml/{name}"), ("tests", f"tests/{name}")):
        for template in (folder / part).iterdir():
            places[f"{part}/{template.name}"] = f"{place}/{template.name.removesuffix('.txt')}"
    class_name = "".join(word.capitalize() for word in name.split("_"))
    changes = {
        "new_digest": name,
        "NewDigest": class_name,
        TITLE: title,
        "SET_TODAY": now()[:10],
    }
    found = {}
    for template_name, place in places.items():
        text = (folder / template_name).read_text(encoding="utf-8")
        for old, new in changes.items():
            text = text.replace(old, new)
        found[place] = text
    return found


def _listed(name: str, title: str, root: Path) -> dict[Path, str]:
    """Return the files that list all chapters, with the new one after the last."""
    last = CHAPTERS[-1]
    russian = "      - file: book/ru/digests/"
    digest = f"      - file: book/digests/{name}\n        sections:\n"
    digest += f"          - file: notebooks/{name}\n"
    sections = r"(        sections:\n(          - file: \S+\n)+)?"
    guides = ("book/guides/gpu.md", "book/ru/guides/gpu.md")
    device = rf"\| `{last}` \| (?:[^|\n]*\|){{5}}\n"
    made = f"| `{name}` | `smoke`, `cpu` | `make test` | `make nightly` |"
    alone = 'next(job for job in all_jobs(profile) if job.arm == "line")'
    additions = (
        ("src/okml/chapters.py", f'    "{last}",\n', f'    "{name}",\n'),
        ("_toc.yml", f"- file: notebooks/{Chapter(last).notebooks[-1].stem}\n", digest),
        ("_toc.yml", f"{russian}{last}\n{sections}", f"{russian}{name}\n"),
        ("README.md", rf"\| `{last}` \| [^|\n]*\|\n", f"| `{name}` | {title} |\n"),
        ("CONTRIBUTING.md", f"{last}(?=  +the chapters)", f", {name}"),
        (
            "CONTRIBUTING.md",
            rf"\| `{last}` \| `arms\.[^\n]*\n",
            f"| `{name}` | `arms.ARMS` | `arms` | `study.Study.train` |\n",
        ),
        (
            "CONTRIBUTING.md",
            rf"   \| `{last}` \| `next\([^\n]*\n",
            f"   | `{name}` | `{alone}` | `study.train(job).state_dict()` | `errors` |\n",
        ),
        (guides[0], device, f"{made} no | never |\n"),
        (guides[1], device, f"{made} нет | никогда |\n"),
        (guides[0], rf"`{last}`(?=\s+offer\s+no\s+networks)", f" and `{name}`"),
        (guides[1], rf"`{last}`(?=\s+сетей\s+для\s+экспорта)", f" и `{name}`"),
    )
    found: dict[Path, str] = {}
    for file, anchor, addition in additions:
        path = root / file
        text = found[path] if path in found else _read(path)
        place = re.search(anchor, text)
        if place is None:
            raise ParameterError(f"{path} has no line of {last!r}, after which {name!r} belongs.")
        found[path] = text[: place.end()] + addition + text[place.end() :]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error}.", "Run it in a checkout.") from None
