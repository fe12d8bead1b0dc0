"""Data sets that only a person can fetch: behind a form, or without published hashes.

Entries of the catalog whose files have manual sources alone belong to them. The others are listed
here: no hash of their files is published, and the catalog needs one for every file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from okml.data.catalog import CatalogEntry, File
from okml.data.sources import ManualSource

MICROLENS = "https://recsys.westlake.edu.cn/"


@dataclass(frozen=True)
class Unvouched:
    """A data set without published hashes, which is not in the catalog.

    Attributes:
        name: The name of its folder below a data folder.
        title: A one-line description.
        license: The name of the license that its origin states.
        url: The page that serves its files.
        files: The files that are read, each with its possible names.
        bytes: The size of all files that its origin states; ``None`` when unknown.
    """

    name: str
    title: str
    license: str
    url: str
    files: tuple[tuple[str, ...], ...]
    bytes: int | None = None


def _features(file: str) -> tuple[str, ...]:
    return file, f"extracted_modality_features/{file}"


UNVOUCHED = {
    known.name: known
    for known in (
        Unvouched(
            name="coveo",
            title="Coveo's SIGIR eCom 2021 data: 36 million events of a web shop, by a form",
            license="research only",
            url="https://www.coveo.com/en/ailabs/sigir-ecom-data-challenge",
            files=(("browsing_train.csv",), ("search_train.csv",), ("sku_to_content.csv",)),
            bytes=1_900_000_000,
        ),
        Unvouched(
            name="microlens_100k",
            title="MicroLens-100K: 719,000 comments on 19,738 short videos, with features",
            license="unstated",
            url=f"{MICROLENS}MicroLens-100k-Dataset/",
            files=(
                ("MicroLens-100k_pairs.csv", "MicroLens-100k_pairs.tsv"),
                ("MicroLens-100k_title_en.csv",),
                _features("MicroLens-100k_title_en_text_features_BgeM3.npy"),
                _features("MicroLens-100k_image_features_CLIPRN50.npy"),
                _features("MicroLens-100k_video_features_VideoMAE.npy"),
            ),
        ),
        Unvouched(
            name="microlens_1m",
            title="MicroLens-1M: 9.1 million comments on 91,402 short videos",
            license="unstated",
            url=f"{MICROLENS}MicroLens-1M-Dataset/",
            files=(
                ("MicroLens-1M_pairs.csv", "MicroLens-1M_pairs.tsv"),
                ("MicroLens-1M_title.csv",),
            ),
        ),
    )
}


def manual_url(found: CatalogEntry) -> str:
    """Return the page of an entry that only a person can fetch; empty for other entries."""
    return next((pages[0] for _, pages in _by_hand(found)), "")


def manual_files(found: CatalogEntry) -> tuple[str, ...]:
    """Return the files of an entry that only a person can fetch."""
    return tuple(file.name for file, _ in _by_hand(found))


def _by_hand(found: CatalogEntry) -> Iterator[tuple[File, list[str]]]:
    """Yield the files whose sources are all manual, each with the pages of these."""
    for file in found.files:
        sources = file.sources or found.sources
        pages = [source.url for source in sources if isinstance(source, ManualSource)]
        if len(pages) == len(sources):
            yield file, pages
