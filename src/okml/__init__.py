"""okml: a reading group's knowledge base whose digests can be run."""

__version__ = "0.1.0"
