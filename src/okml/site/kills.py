"""The table of the recorded effects of kills."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from okml.benchmark import Kills, Survival
from okml.site.benchmarks import RecordTable
from okml.site.language import Lang, numbers_in, word, words
from okml.site.markup import Child, element, note, row, scrolling_table, tag


class KillsTable(RecordTable[Survival]):
    """``{kills}``: the record of ``make kills``."""

    file, kind, script = "survival", Survival, "tests/survival"

    def table(self, record: Survival) -> element:
        """Return a row for each kind of work, with its kills by signal, and a row of sums."""
        lang = self.lang
        signals = sorted({each.signal for each in record.kills})
        rows = []
        for work in dict.fromkeys(each.work for each in record.kills):
            found = [each for each in record.kills if each.work == work]
            hit = sum((Counter(each.processes) for each in found), Counter[str]())
            roles = ", ".join(f"{role} {count}" for role, count in sorted(hit.items()))
            rows.append(
                row([word(f"killed.{work}", lang), note(roles)], *_cells(found, signals, lang))
            )
        rows.append(row([tag("strong", word("total", lang))], *_cells(record.kills, signals, lang)))
        columns = words(lang, "gone", "whole", "equal", "slowest")
        header = [word("killed", lang), *signals, *columns]
        return scrolling_table(word("kills_title", lang), header, rows)


def _cells(found: Sequence[Kills], signals: Sequence[str], lang: Lang) -> list[list[Child]]:
    kills = sum(each.kills for each in found)
    well = (
        sum(each.gone for each in found),
        sum(each.whole for each in found),
        sum(each.equal for each in found),
    )
    return [
        *([str(sum(e.kills for e in found if e.signal == signal))] for signal in signals),
        *([f"{count} / {kills}"] for count in well),
        [numbers_in(f"{max(each.slowest_s for each in found):.1f} {word('unit.s', lang)}", lang)],
    ]
