"""Event logs of recommender data sets in one form; see ``okml.data.logs.schema``."""

from okml.data.logs.schema import EVENT_SCHEMA, KINDS, TITLE_SCHEMA, EventLog, Summary

__all__ = ["EVENT_SCHEMA", "KINDS", "TITLE_SCHEMA", "EventLog", "Summary"]
