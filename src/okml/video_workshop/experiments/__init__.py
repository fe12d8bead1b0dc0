"""The experiments of the chapter, one module a question."""
