"""Data sets and models: one catalog, verified fetching, folders that transformers loads.

``fetch("world_models", ["art.csv"])`` returns a verified path by file name;
``local_model("smollm2_135m")`` a folder for ``from_pretrained``; ``fetched_from`` the source that
served each file.
"""

from okml.data.catalog import CatalogEntry, catalog, entry
from okml.data.fetch import check_obtainable, fetch
from okml.data.inventory import fetched_from, listed, listing, verify
from okml.data.models import document_start, local_model
from okml.errors import DataError

__all__ = [
    "CatalogEntry",
    "DataError",
    "catalog",
    "check_obtainable",
    "document_start",
    "entry",
    "fetch",
    "fetched_from",
    "listed",
    "listing",
    "local_model",
    "verify",
]
