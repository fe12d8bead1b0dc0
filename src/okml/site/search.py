"""Search in two languages: an English stemmer, and a Russian one for Cyrillic words."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from importlib import resources
from typing import Any, TextIO

import snowballstemmer
import sphinx.search
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish
from sphinx.search.ru import russian_stopwords

CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
CELL = re.compile("</(?:td|th|caption|legend|label)>")
# The search in the page must use the stemmer of the index; both stemmers define `Stemmer`.
SCRIPT = """
var Stemmer = (function () {{
  const English = (function () {{ {english}; return Stemmer; }})();
  const Russian = (function () {{ {base}; {russian}; return RussianStemmer; }})();
  return function () {{
    const en = new English(), ru = new Russian();
    this.stemWord = (word) => /[а-яё]/i.test(word)
      ? ru.stemWord(word.replace(/ё/g, "е"))
      : en.stemWord(word);
  }};
}})();
"""


def _sphinx_script(name: str) -> str:
    path = resources.files("sphinx") / "search" / "non-minified-js" / name
    return path.read_text(encoding="utf-8")


class SearchBoth(SearchEnglish):  # type: ignore[misc]
    """Sphinx's English search, with Russian words stemmed as Russian; ``ё`` counts as ``е``."""

    lang = "en-ru"
    language_name = "English and Russian"
    stopwords = SearchEnglish.stopwords | russian_stopwords
    js_stemmer_code = SCRIPT.format(
        english=SearchEnglish.js_stemmer_code,
        base=_sphinx_script("base-stemmer.js"),
        russian=_sphinx_script("russian-stemmer.js"),
    )

    def init(self, options: dict[str, Any]) -> None:
        """Create both stemmers."""
        super().init(options)
        self.russian = snowballstemmer.stemmer("russian")
        self.stems: dict[str, str] = {}  # a word comes on many pages, and a stem takes long

    def stem(self, word: str) -> str:
        """Return the stem of a word by its script."""
        if (known := self.stems.get(word)) is not None:
            return known
        if CYRILLIC.search(word):
            found = str(self.russian.stemWord(re.sub("ё", "е", word.lower())))
        else:
            found = str(super().stem(word))
        self.stems[word] = found
        return found

    def word_filter(self, word: str) -> bool:
        """Tell whether a word is kept: a search in the page skips stop words and numbers too."""
        return not (word.isdecimal() or word.lower() in self.stopwords)


class Index(sphinx.search.IndexBuilder):  # type: ignore[misc]
    """Sphinx's index as a function of the pages alone.

    Sphinx's own index depends on the order of builds: it keeps words that no page has any longer,
    lists index entries in the order of writing, and loses those of pages that a build does not
    write again.
    """

    def load(self, stream: TextIO, format: Any) -> None:
        """Read the index of the build before, with the index entries."""
        text = stream.read()
        super().load(io.StringIO(text), format)
        frozen = format.loads(text)
        self._index_entries.clear()
        for entry, places in frozen["indexentries"].items():
            for page, anchor, is_main in places:
                of_page = self._index_entries.setdefault(frozen["docnames"][page], [])
                of_page.append((entry, anchor, "main" if is_main else ""))

    def prune(self, docnames: Iterable[str]) -> None:
        """Keep only what was found on these pages."""
        super().prune(docnames)
        for page in self._index_entries.keys() - set(docnames):
            del self._index_entries[page]

    def freeze(self) -> dict[str, Any]:
        """Return the content of the index file."""
        self._objtypes.clear()
        self._objnames.clear()
        for words in (self._mapping, self._title_mapping):
            for word in [word for word, pages in words.items() if not pages]:
                del words[word]
        frozen: dict[str, Any] = super().freeze()
        frozen["indexentries"] = {k: sorted(v) for k, v in frozen["indexentries"].items()}
        return frozen


def keep_cells_apart(app: Sphinx, doctree: nodes.document) -> None:
    """Put a space after each cell of a raw table: Sphinx drops tags and would join the words."""
    for raw in doctree.findall(nodes.raw):
        if raw["format"] == "html" and CELL.search(text := raw.astext()):
            raw.children = []
            raw += nodes.Text(CELL.sub(r"\g<0> ", text))


def setup_search(app: Sphinx) -> None:
    """Register the language, which ``html_search_language: en-ru`` selects, and the index."""
    app.add_search_language(SearchBoth)
    sphinx.search.IndexBuilder = Index
    app.connect("doctree-read", keep_cells_apart)
