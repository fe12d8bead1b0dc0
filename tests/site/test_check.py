"""The checks of built pages: a clean site passes, and every defect is found."""

import pytest

from okml.site import check

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>T</title><link rel="stylesheet" href="s.css"></head>
<body><article>{}</article></body></html>"""


@pytest.fixture
def site(tmp_path):
    def make(body, page=PAGE):
        (tmp_path / "s.css").write_text("")
        (tmp_path / "map.png").write_bytes(b"")
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs/index.html").write_text(
            PAGE.format('<h1 id="a">A</h1>').replace("s.css", "../s.css")
        )
        (tmp_path / "page.html").write_text(page.format(body), encoding="utf-8")
        return tmp_path

    return make


def test_a_clean_page_passes(site):
    body = """<h1 id="top">T</h1><img src="map.png" alt="A map">
    <img src="map.png" alt="" role="presentation">
    <a href="#top">up</a> <a href="docs/index.html#a">a</a> <a href="docs/">d</a>
    <a href="https://example.org/x">x</a> <a href="mailto:a@example.org">m</a> <a href="#">none</a>
    <svg aria-label="A plot"></svg> <a href="#1"><svg aria-hidden="true"></svg></a><i id="1"></i>
    <div class="cell_output">Traceback is a word of Python.</div>
    <p>A page may quote Traceback (most recent call last) in its text.</p>"""
    assert check.problems(site(body)) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<div class="output traceback">ValueError: no</div>', "ended in an error: ValueError"),
        ('<div class="output stderr">warn</div>', "standard error: warn"),
        (
            '<div class="cell_output">Traceback (most recent call last): X</div>',
            "a traceback in an output",
        ),
        ('<aside class="system-message">Unknown role</aside>', "docutils left an error"),
        ('<span class="problematic">`x`</span>', "could not read: `x`"),
        ('<a href="gone.html">x</a>', "a dead link: gone.html"),
        ('<a href="docs/gone.html#a">x</a>', "a dead link: docs/gone.html#a"),
        ('<a href="../outside.html">x</a>', "a dead link: ../outside.html"),
        ('<a href="docs/index.html#b">x</a>', "a dead anchor: docs/index.html#b"),
        ('<a href="#nowhere">x</a>', "a dead anchor: #nowhere"),
        ('<img src="gone.png" alt="A map">', "a dead link: gone.png"),
        ('<script src="gone.js"></script>', "a dead link: gone.js"),
        ('<img src="map.png">', "without a text alternative: map.png"),
        ('<img src="map.png" alt=" ">', "without a text alternative: map.png"),
        ("<svg></svg>", "inline SVG without"),
        ('<i id="x"></i><i id="x"></i>', "'x' occurs twice"),
    ],
)
def test_each_defect_is_named_with_its_page(site, body, expected):
    [problem] = check.problems(site(body))
    assert problem.startswith("page.html: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (' lang="en"', "", "no lang"),
        (' lang="en"', ' lang=""', "no lang"),
        ("<title>T</title>", "", "no title"),
        ("<title>T</title>", "<title> </title>", "no title"),
        ("s.css", "gone.css", "a dead link: gone.css"),
    ],
)
def test_defects_of_the_frame(site, old, new, expected):
    [problem] = check.problems(site("", PAGE.replace(old, new)))
    assert expected in problem


def test_a_page_has_a_limit(site):
    frame = len(PAGE.format("").encode())
    full = "я" * ((check.PAGE_LIMIT - frame) // 2)  # two bytes each
    assert check.problems(site(full)) == []
    [problem] = check.problems(site(full + "яя"))
    assert "800 kB of HTML" in problem


def test_a_page_near_the_limit_is_named_and_no_defect(site):
    frame = len(PAGE.format("").encode())
    folder = site("x" * (check.WARNED_OF - frame))
    assert check.large_pages(folder) == []
    folder = site("x" * (check.WARNED_OF - frame + 1))
    [warning] = check.large_pages(folder)
    assert warning.startswith("page.html: 780 kB of HTML")
    assert check.problems(folder) == []


def test_an_empty_folder_is_no_site(tmp_path):
    assert "holds no pages" in check.problems(tmp_path)[0]
