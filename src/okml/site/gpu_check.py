"""The table of what one card has shown."""

from __future__ import annotations

from docutils import nodes

from okml.benchmark import GpuCheck, GpuNumber
from okml.errors import RecordError
from okml.site.benchmarks import RecordDirective, made, missing, number
from okml.site.language import Lang, word
from okml.site.markup import element, row, scrolling_table, tag
from okml.site.provenance import duration_in


class GpuCheckTable(RecordDirective):
    """``{gpu-check}``: the record of ``make gpu-check``."""

    def render(self) -> list[nodes.Node]:
        """Return the table, and the time and machine of the record.

        Raises:
            RecordError: If the record is of the smallest sizes.
        """
        path = self.path_of("gpu_check")
        if path is None:
            return missing(word("gpu_check_missing", self.lang))
        record = GpuCheck.read(path)
        if record.tiny:
            raise RecordError(f"{path} is of the smallest sizes.", "Run `make gpu-check` on a GPU.")
        return [_table(record, self.lang), made(record, "benchmarks/gpu", self.lang)]


def _table(record: GpuCheck, lang: Lang) -> element:
    """Return a row for each part, and below it a row for each number."""
    rows = []
    for part in record.parts:
        state = part.failed or word("done", lang)
        rows.append(row([tag("strong", part.what)], [duration_in(part.seconds, lang)], [state]))
        rows += [
            row([each.what], [_value(each, lang)], [_beside(each, lang)]) for each in part.measured
        ]
    keys = ("quantity", "measured", "beside")
    header = [(word(key, lang), "") for key in keys]
    return scrolling_table(word("gpu_check_title", lang), header, rows)


def _value(each: GpuNumber, lang: Lang) -> str:
    return f"{number(each.value, lang)} {each.unit}".strip()


def _beside(each: GpuNumber, lang: Lang) -> str:
    if each.beside is None:
        return ""
    return f"{number(each.beside, lang)} {each.unit}, {each.beside_is}"
