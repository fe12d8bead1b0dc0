"""okml: a reading group's knowledge base whose digests can be run."""

import warnings

from okml import quiet as quiet

__version__ = "0.1.0"

# tqdm warns on import where notebook widgets are missing; the chapters use none. The filter must
# precede any import of a library that uses tqdm.
warnings.filterwarnings("ignore", "IProgress not found")
