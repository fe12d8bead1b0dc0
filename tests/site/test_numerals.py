"""Numbers on Russian pages; names, versions and code keep their points."""

import pytest

from okml.site.language import numbers_in


@pytest.mark.parametrize(
    ("python", "russian"),
    [
        ("-0.010 [-0.018, 1.002]", "−0,010 [−0,018; 1,002]"),
        ("0.412 ± 0.008", "0,412 ± 0,008"),
        ("8,287 [1, 12]", "8287 [1, 12]"),
        ("-12,345 of 1,234,567", "−12\xa0345 of 1\xa0234\xa0567"),
        ("R² of 0.2, random -0.1.", "R² of 0,2, random −0,1."),
        ("1.5e-05 s, 2.10×, +2.23 %", "1,5e-05 s, 2,10×, +2,23 %"),
        ("|x| ≤ 0.05", "|x| ≤ 0,05"),
    ],
)
def test_russian_has_a_comma_a_minus_and_spaces(python, russian):
    assert numbers_in(python, "ru") == russian
    assert numbers_in(python, "en") == python


@pytest.mark.parametrize(
    "text",
    [
        "v2.0.1", "RecBole 1.2.0", "Stable Diffusion 2.1-base", "torch 2.6", "CC BY 4.0",
        "arXiv:2302.01680", "10.1145/3604915", "L12.5", "llama-3.1", "space_time.map@night",
        "2023-12-28", "11-12", "1e-3", "(0.06,)", "256, 512",
    ],
)  # fmt: skip
def test_names_versions_and_code_stay(text):
    assert numbers_in(text, "ru") == text
