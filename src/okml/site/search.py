"""Search in two languages: an English stemmer, and a Russian one for Cyrillic words."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import snowballstemmer
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish
from sphinx.search.ru import russian_stopwords

CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
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

    def stem(self, word: str) -> str:
        """Return the stem of a word by its script."""
        if CYRILLIC.search(word):
            return str(self.russian.stemWord(re.sub("ё", "е", word.lower())))
        return str(super().stem(word))


def setup_search(app: Sphinx) -> None:
    """Register the language; ``html_search_language: en-ru`` selects it."""
    app.add_search_language(SearchBoth)
