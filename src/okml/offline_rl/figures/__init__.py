"""Figures of the chapter; each takes frames and returns a Picture."""
