"""okml: a reading group's knowledge base whose digests can be run."""

import warnings

__version__ = "0.1.0"

# Without notebook widgets tqdm complains on import; chapters show no widgets on purpose. This has
# to stand before any import of a library that uses it.
warnings.filterwarnings("ignore", "IProgress not found")
