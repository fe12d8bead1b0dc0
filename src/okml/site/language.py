"""The two languages of the book: of a page, the site's own words in both, numbers in both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from babel import Locale

from okml.ledger import Text

Lang = Literal["en", "ru"]
LANGUAGES: tuple[Lang, ...] = get_args(Lang)
RUSSIAN_PAGES = "book/ru/"
NOTEBOOK_PAGES = "notebooks/"

# key: (English, Russian)
_WORDS: Mapping[str, tuple[str, str]] = {
    "author": ("the okml reading group", "читательская группа okml"),
    "bar": ("bar", "порог"),
    "bare": ("no interval: decides nothing", "без интервала: ничего не решает"),
    "basis.arithmetic": ("arithmetic", "арифметика"),
    "basis.real": ("real data", "реальные данные"),
    "basis.simulator": ("a simulator", "симулятор"),
    "basis.synthetic": ("synthetic data", "синтетические данные"),
    "changes": ("change since|changes since", "правка позже|правки позже|правок позже"),
    "changed.bar": ("bar", "порог"),
    "changed.control": ("control", "контроль"),
    "changed.condition": ("condition", "условие"),
    "changed.metric": ("metric", "метрика"),
    "commits": ("commit|commits", "коммит|коммита|коммитов"),
    "exact": ("exact", "точно"),
    "interval": ("95 % interval", "95-процентный интервал"),
    "not_certain": ("not certain", "не наверняка"),
    "not_compared": ("not compared", "не сравнивалось"),
    "rests_on": ("Rests on", "На чём основано"),
    "sd": ("standard deviation over seeds", "стандартное отклонение по запускам"),
    "set": ("bars set", "пороги заданы"),
    "stale.code": ("older code", "прежний код"),
    "stale.settings": ("older settings", "прежние настройки"),
    "typed.paper": ("a figure of the paper or the digest", "число из статьи или дайджеста"),
    "typed.setting": ("a setting", "настройка"),
    "by_scale": ("By scale", "По масштабам"),
    "cite": ("To cite this:", "Как сослаться:"),
    "history": ("What changed since the bars were set", "Что менялось после выбора порогов"),
    "less_control": ("Difference from the control", "Разность с контролем"),
    "metric": ("Name in the record", "Имя в записи о запуске"),
    "scale.cpu": ("minutes on a laptop", "минуты на ноутбуке"),
    "scale.night": ("hours without a GPU", "часы без GPU"),
    "scale.gpu": ("models and data of the paper", "модели и данные статьи"),
    "stated": ("Stated in", "Где сформулировано"),
    "where": ("Where it stands", "Где стоит"),
    "seeds_cleared": (
        "bar cleared with {} of {} seeds",
        "порог взят при {} из {} начальных значений",
    ),
    "beaten": ("beaten", "превзойдён"),
    "agreement": (
        "Largest relative difference of the results",
        "Наибольшее относительное расхождение результатов",
    ),
    "benchmark_missing": (
        "This benchmark has not been recorded yet.",
        "Этот замер ещё не записан.",
    ),
    "cells": ("cell|cells", "ячейка|ячейки|ячеек"),
    "chapter": ("Chapter", "Глава"),
    "claim": ("Claim", "Утверждение"),
    "claims": ("Claims, the paper beside our runs", "Утверждения: статья и наши запуски"),
    "code": ("Code", "Код"),
    "control": ("Control", "Контроль"),
    "cores": ("core|cores", "ядро|ядра|ядер"),
    "data": ("Data", "Данные"),
    "details": ("details", "подробнее"),
    "digest": ("digest", "дайджест"),
    "digest.en": ("digest", "дайджест по-английски"),
    "digest.ru": ("digest in Russian", "дайджест"),
    "dirty": ("with uncommitted changes", "с незакоммиченными изменениями"),
    "duration": ("Duration", "Длительность"),
    "executed": ("Executed notebooks of this build", "Ноутбуки, выполненные для этой сборки"),
    "failed": ("failed", "с ошибкой"),
    "feed": ("okml: verdicts that changed", "okml: изменившиеся вердикты"),
    "feed_says": (
        "Claims whose verdict became another one, by a new record or a new bar; all records are "
        "judged by today's rules.",
        "Утверждения, вердикт которых стал другим из-за нового запуска или порога; все запуски "
        "судятся по сегодняшним правилам.",
    ),
    "finished": ("all cells ran", "все ячейки выполнены"),
    "hardware": ("Hardware", "Железо"),
    "no_record_shows": ("no recorded run shows this.", "записанные запуски этого не показывают."),
    "not_beaten": ("not beaten", "не превзойдён"),
    "not_executed": ("no executed notebook", "выполненного ноутбука нет"),
    "not_run": ("not run", "нет запуска"),
    "notebook": ("Notebook", "Ноутбук"),
    "notes": ("Notes", "Примечания"),
    "one_figure": (
        "How to run one figure anew, on your machine or on a GPU",
        "Как посчитать один рисунок заново, на своей машине или на GPU",
    ),
    "open.clears": (
        "The mean clears {against}, the {end} end of the interval misses it by {by}; with the same "
        "mean and spread all of the interval would clear it in a larger sample ({sample}).",
        "Среднее лежит по нужную сторону {against}, {end} конец интервала – по другую, в {by} от "
        "него; при том же среднем и разбросе на выборке крупнее этой весь интервал лёг бы по "
        "нужную сторону ({sample}).",
    ),
    "open.misses": (
        "The mean misses {against}, the {end} end of the interval clears it by {by}; with the same "
        "mean and spread all of the interval would miss it in a larger sample ({sample}).",
        "Среднее лежит по другую сторону {against}, {end} конец интервала – по нужную, в {by} от "
        "него; при том же среднем и разбросе на выборке крупнее этой весь интервал лёг бы по "
        "другую сторону ({sample}).",
    ),
    "open.bar": ("the bar", "порога"),
    "open.control": ("the control's margin", "требуемого отрыва от контроля"),
    "open.lower": ("lower", "нижний"),
    "open.upper": ("upper", "верхний"),
    "open.more": ("{}: about {} in place of {}", "{}: около {} вместо {}"),
    "opening.took": ("A recorded run took", "Запуск занял"),
    "opening.verdicts": ("Verdicts on the claims below", "Вердикты об утверждениях ниже"),
    "open_notebook": ("Run it: the notebook", "Запустить: ноутбук"),
    "open_notebooks": ("Run it: the notebooks", "Запустить: ноутбуки"),
    "okml": ("okml", "okml"),
    "other_scale": ("The same from {}", "То же: {}"),
    "paper": ("Paper", "Статья"),
    "pages_of": ("Pages of:", "Страницы раздела:"),
    "peak_memory": ("Peak memory", "Пик памяти"),
    "peer": ("Peer", "С чем сравниваем"),
    "profile": ("Profile", "Профиль"),
    "provenance": ("Where these numbers come from", "Откуда эти числа"),
    "gone": ("All processes gone in 10 s", "Все процессы завершились за 10 с"),
    "whole": ("Nothing lost", "Ничего не потеряно"),
    "equal": ("Equal results", "Те же результаты"),
    "slowest": ("Slowest end", "Самое долгое завершение"),
    "killed": ("What was killed", "Что прерывали"),
    "killed.fetch": ("fetching data", "загрузка данных"),
    "killed.training": ("a training", "обучение"),
    "killed.steps": ("a chapter in one process", "глава в одном процессе"),
    "killed.recording": ("recording", "запись результатов"),
    "killed.side by side": ("trainings side by side", "обучения в параллельных процессах"),
    "killed.papermill": ("okml run", "okml run"),
    "killed.two processes": ("a training in two processes", "обучение в двух процессах"),
    "killed.gpu": ("a chapter on a second device", "глава на втором устройстве"),
    "killed.site": ("building the site", "сборка сайта"),
    "kills_title": ("What kills did, by signal", "Что сделали прерывания, по сигналам"),
    "ties.title": (
        "Claims by the order of the events of one second",
        "Утверждения при разных порядках событий одной секунды",
    ),
    "ties.file": ("Order of the file", "Порядок файла"),
    "ties.drawn": ("Order drawn at random", "Случайный порядок"),
    "ties.record": ("Drawn once more: the record", "Разыгран ещё раз: запись"),
    "ties.one_way": (
        "Films that ten users or more rated in one second: pairs in the order of most of them",
        "Фильмы, которые десять и более пользователей оценили в одну секунду: пары в том порядке, "
        "в каком они у большинства",
    ),
    "ties.frozen": (
        "NDCG@10 of retrieval on the frozen base, first seed",
        "NDCG@10 поиска кандидатов на замороженной основе, первое начальное значение",
    ),
    "ties.rates": (
        "HR@10 over the served periods by the rate of updates, mean and standard deviation of {} "
        "seeds",
        "HR@10 за обслуживаемые периоды при разной скорости обновлений: среднее и стандартное "
        "отклонение, начальных значений – {}",
    ),
    "ties.updates": ("Updates a period", "Обновлений за период"),
    "ties.factor": ("Factor of the learning rate", "Множитель скорости обучения"),
    "ties.chosen": ("chosen on early periods", "выбран на ранних периодах"),
    "trials.title": (
        "One step of the student after {} updates, mean and standard deviation of {} seeds",
        "Один шаг ученика после {} обновлений: среднее и стандартное отклонение, начальных "
        "значений – {}",
    ),
    "trials.updates": ("Updates", "Обновления"),
    "trials.alt": (
        "The Fréchet distance of one step while the student trains: a panel for each change, a "
        "blue line for each of {} seeds, thin lines for the recipe; the dashed line is one step of "
        "the teacher, {}.",
        "Расстояние Фреше одного шага, пока ученик учится: панель для каждого изменения, синие "
        "линии – начальные значения (их {}), тонкие – рецепт без изменений; пунктир – один шаг "
        "учителя, {}.",
    ),
    "trials.alt_slow": (
        "Green lines are averages over some 200 updates.",
        "Зелёные линии – усреднение примерно по 200 обновлениям.",
    ),
    "trials.change": ("What was changed", "Что изменено"),
    "trials.one_step_fd": ("Fréchet distance", "Расстояние Фреше"),
    "trials.slow_fd": ("Averaged over some 200 updates", "При усреднении по 200 обновлениям"),
    "trials.least_fd": ("Least on the way", "Наименьшее по пути"),
    "trials.after": ("after {}", "после {}"),
    "trials.gradient_ratio": (
        "Adversarial over distillation gradient",
        "Градиент состязательный к дистилляции",
    ),
    "trials.real_seen": ("Told right: training images", "Верно узнано: обучающие"),
    "trials.real_unseen": ("held-out images", "отложенные"),
    "trials.drawn_seen": ("the student's", "нарисованные учеником"),
    "beside": ("Beside it", "Рядом"),
    "done": ("done", "готово"),
    "gpu_check_missing": (
        "No card has been measured yet: run make gpu-check on a machine with a GPU.",
        "Ни одна карта ещё не измерена: запустите make gpu-check на машине с GPU.",
    ),
    "gpu_check_title": ("What one card has shown", "Что показала одна карта"),
    "measured": ("Measured", "Измерено"),
    "quantity": ("Quantity", "Величина"),
    "ratio": ("Times better", "Во сколько раз лучше"),
    "recorded": ("Recorded runs", "Записанные запуски"),
    "recorded_value": ("Recorded", "Записано"),
    "repeats": ("Repeats", "Повторов"),
    "run": ("Run", "Запуск"),
    "script_changed": (
        "The script has changed since this record",
        "После этой записи скрипт менялся",
    ),
    "seeds": ("Seeds", "Начальные значения"),
    "settings": ("Settings", "Настройки"),
    "smoke_banner": (
        "Figures and tables of results show the recorded run named above each, with this build's "
        "smoke run folded below. What is worked by hand is that smoke run: small data and few "
        "seeds, which show that the code works, and at most a direction.",
        "Рисунки и таблицы результатов взяты из записанного запуска, который назван над каждым; "
        "пробный запуск этой сборки свёрнут под ними. Расчёты вручную – тоже пробный запуск: мало "
        "данных и мало повторов, и видно, что код работает, и самое большее направление.",
    ),
    "software": ("Software", "Библиотеки"),
    "started": ("Started (UTC)", "Начат (UTC)"),
    "state": ("State", "Состояние"),
    "sum": ("Claims by chapter and verdict", "Утверждения по главам и вердиктам"),
    "switch.home": (
        "This page has one version for both languages. To the home page in English",
        "Эта страница общая для двух языков. К началу книги по-русски",
    ),
    "switch.same": ("This page in English", "Эта страница по-русски"),
    "target": ("Target", "Цель"),
    "target.floor": (
        "SASRec's training takes at most {} times the arithmetic floor",
        "обучение SASRec не дольше {}× арифметического предела",
    ),
    "target.graph": (
        "the merge of the item graph adds at most {} bytes an edge",
        "слияние графа товаров добавляет не больше {} байт на ребро",
    ),
    "target.met": ("met", "достигнута"),
    "target.missed": ("missed", "не достигнута"),
    "target.older": (
        "The record is older than this measurement.",
        "Запись старше этого измерения.",
    ),
    "target.recbole": (
        "SASRec trains on at least {} times RecBole's targets a second",
        "SASRec проходит в секунду не менее чем в {} раз больше целей, чем RecBole",
    ),
    "target.ridge": (
        "ridge is at least {} times as fast as scikit-learn's default",
        "гребневая регрессия не менее чем в {} раз быстрее scikit-learn по умолчанию",
    ),
    "target.ridge_svd": (
        "ridge is at least {} times as fast as scikit-learn's svd",
        "гребневая регрессия не менее чем в {} раз быстрее svd из scikit-learn",
    ),
    "target.unknown": ("not recorded", "не записано"),
    "targets": ("Targets of speed and memory", "Цели по скорости и памяти"),
    "tests": ("tests", "проверяет"),
    "this_language": ("English", "Русский"),
    "this_build": ("smoke, this build", "smoke, эта сборка"),
    "total": ("All", "Всего"),
    "unit.bytes": ("{} bytes", "{} байт"),
    "unit.h": ("h", "ч"),
    "unit.min": ("min", "мин"),
    "unit.s": ("s", "с"),
    "unit.times": ("{}×", "{}×"),
    "verdict": ("Verdict", "Вердикт"),
    "verdicts": (
        "What each recorded scale decided, and what kept it from more",
        "Что решил каждый записанный масштаб и что помешало решить больше",
    ),
    "why": ("why", "почему"),
    "why.floor": (
        "The floor counts matrix products alone, at the speed of large ones; narrow products and "
        "all that is done between them take the rest.",
        "Предел учитывает только умножения матриц, причём со скоростью больших; остальное время "
        "уходит на узкие матрицы и на всё, что делается между умножениями.",
    ),
    "why.recbole": (
        "At the arithmetic floor, the limit of any kernel, it would be {}×.",
        "На арифметическом пределе, быстрее которого не бывает, было бы {}×.",
    ),
    "why.ridge": (
        "Most of the time goes into the Gram matrix of each layer, its eigenvectors and products "
        "with them, which exact leave-one-out needs.",
        "Больше всего времени занимают матрица Грама каждого слоя, её собственные векторы и "
        "умножения на них; точный скользящий контроль без них невозможен.",
    ),
}

# The places of a paper that claims name as their source.
_PLACES = {
    "abstract": "аннотация",
    "digest": "дайджест",
    "okml": "добавлено нами",
    "Table": "таблица",
    "Figure": "рисунок",
    "Figures": "рисунки",
    "Appendix": "приложение",
}
# The texts of the theme.
_THEME = {
    "By": "Авторы:",
    "previous": "назад",
    "next": "дальше",
    "previous page": "предыдущая страница",
    "next page": "следующая страница",
    "On this page": "На этой странице",
    "Search": "Поиск",
    "Skip to main content": "К содержанию страницы",
    "Back to top": "Наверх",
    "Contents": "На этой странице",
    "Download notebook file": "Скачать ноутбук",
    "Download source file": "Скачать исходный текст",
    "Download this page": "Скачать эту страницу",
    "Fullscreen mode": "На весь экран",
    "Print to PDF": "Напечатать в PDF",
    "Source repository": "Репозиторий",
    "Suggest edit": "Предложить правку",
    "Color mode": "Цветовая тема",
    "Light": "Светлая",
    "Dark": "Тёмная",
    "System Settings": "Как в системе",
    "Version warning": "Предупреждение о версии",
    # Titles of the pages that both languages share.
    "Glossary": "Словарь",
    "Bibliography": "Литература",
    "Toggle primary sidebar": "Показать или убрать оглавление книги",
    "Toggle secondary sidebar": "Показать или убрать содержание страницы",
    "Toggle hidden content": "Показать или убрать скрытое",
    "Link to this heading": "Ссылка на этот раздел",
    "Link to this equation": "Ссылка на эту формулу",
    "Link to this table": "Ссылка на эту таблицу",
    "Link to this image": "Ссылка на этот рисунок",
    "Link to this term": "Ссылка на этот термин",
}
# The forms of a noun after a number, in the order in which a phrase has them.
_PLURALS: Mapping[Lang, tuple[str, ...]] = {"en": ("one", "other"), "ru": ("one", "few", "many")}
_BEFORE_VERSION = "".join(f"(?<!{name} )" for name in ("BY", "SD", "Diffusion", "Python", "torch"))
# A number as Python formats it, which is no part of a name, an address, a range, a date, a version
# or a tuple of one.
_NUMBER = (
    rf"{_BEFORE_VERSION}(?<![\w.,:@/+-])"
    r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]\d+)?(?![.,]?\d|,\)|/)"
)
_LIST = re.compile(rf"{_NUMBER}(?:, {_NUMBER})*")
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def page_language(docname: str) -> Lang:
    """Return the language of a page by its path."""
    return "ru" if docname.startswith(RUSSIAN_PAGES) else "en"


def twin(docname: str) -> str:
    """Return the name of the same page in the other language, whether or not it exists."""
    if page_language(docname) == "en":
        return RUSSIAN_PAGES + docname.removeprefix("book/")
    name = docname.removeprefix(RUSSIAN_PAGES)
    return name if name.startswith(NOTEBOOK_PAGES) else f"book/{name}"


def in_language(docname: str, lang: Lang) -> str:
    """Return the name of a page in a language, whether or not it exists."""
    return docname if page_language(docname) == lang else twin(docname)


def other(lang: Lang) -> Lang:
    """Return the other language."""
    return "en" if lang == "ru" else "ru"


def word(key: str, lang: Lang) -> str:
    """Return one of the site's own words or phrases."""
    return _WORDS[key][LANGUAGES.index(lang)]


def words(lang: Lang, *keys: str) -> list[str]:
    """Return some of the site's own words, such as the titles of a table's columns."""
    return [word(key, lang) for key in keys]


def place_in_paper(source: str, lang: Lang) -> str:
    """Return the source of a claim, such as ``Table 2``, in the words of a language."""
    if lang == "en":
        return "added by us" if source == "okml" else source
    return re.sub(r"[A-Za-z]+", lambda found: _PLACES.get(found[0], found[0]), source)


def theme_word(text: str, lang: Lang) -> str:
    """Return a text of the theme in a language, or unchanged without a translation."""
    return _THEME.get(text, text) if lang == "ru" else text


def counted(n: int, key: str, lang: Lang) -> str:
    """Return a number with the plural form of its noun that the language requires.

    English has two forms; Russian has three: 1 ядро, 2 ядра, 5 ядер, but 11 ядер, 21 ядро.
    """
    forms = dict(zip(_PLURALS[lang], word(key, lang).split("|"), strict=True))
    return f"{n} {forms[Locale(lang).plural_form(n)]}"


def said(text: Text, lang: Lang) -> str:
    """Return a bilingual text in one language."""
    return text.ru if lang == "ru" else text.en


def numbers_in(text: str, lang: Lang) -> str:
    """Return a text with the numbers that Python has formatted in it as a language writes them.

    Russian has a comma before the decimals, so a semicolon stands between two such numbers, and
    spaces in integers of five digits or more. A text must not be passed twice.
    """
    return text if lang == "en" else _LIST.sub(_russian_list, text)


def _russian_list(found: re.Match[str]) -> str:
    apart = "; " if "." in found[0] else ", "
    return apart.join(map(_russian, found[0].split(", ")))


def _russian(number: str) -> str:
    whole, point, decimals = number.partition(".")
    spaced = whole.replace(",", NO_BREAK_SPACE if len(whole.lstrip("+-")) > len("9,999") else "")
    return re.sub("^-", "−", spaced) + point.replace(".", ",") + decimals
