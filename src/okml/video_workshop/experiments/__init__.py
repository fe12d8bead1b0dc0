"""The experiments of the chapter, one module for each question."""
