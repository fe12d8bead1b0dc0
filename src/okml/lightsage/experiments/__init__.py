"""The steps of the chapter, one module for each question."""
