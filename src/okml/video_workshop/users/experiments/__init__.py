"""The experiments of the theme, one module for each question."""
