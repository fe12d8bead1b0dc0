"""The table of what one card has shown."""

from __future__ import annotations

from okml.benchmark import GpuCheck, GpuNumber
from okml.errors import RecordError
from okml.site.benchmarks import RecordTable, number
from okml.site.language import Lang, word, words
from okml.site.markup import element, row, scrolling_table, tag
from okml.site.provenance import duration_in


class GpuCheckTable(RecordTable[GpuCheck]):
    """``{gpu-check}``: the record of ``make gpu-check``."""

    file, kind, script = "gpu_check", GpuCheck, "benchmarks/gpu"
    unrecorded = "gpu_check_missing"

    def table(self, record: GpuCheck) -> element:
        """Return a row for each part, and below it a row for each number.

        Raises:
            RecordError: If the record is of the smallest sizes.
        """
        if record.tiny:
            place = self.path_of(self.file)
            raise RecordError(
                f"{place} is of the smallest sizes.", "Run `make gpu-check` on a GPU."
            )
        lang = self.lang
        rows = []
        for part in record.parts:
            state = part.failed or word("done", lang)
            rows.append(row([tag("strong", part.what)], [duration_in(part.seconds, lang)], [state]))
            rows += [
                row([each.what], [_value(each, lang)], [_beside(each, lang)])
                for each in part.measured
            ]
        header = words(lang, "quantity", "measured", "beside")
        return scrolling_table(word("gpu_check_title", lang), header, rows)


def _value(each: GpuNumber, lang: Lang) -> str:
    return "—" if each.value is None else f"{number(each.value, lang)} {each.unit}".strip()


def _beside(each: GpuNumber, lang: Lang) -> str:
    if each.beside is None:
        return ""
    return f"{number(each.beside, lang)} {each.unit}, {each.beside_is}"
