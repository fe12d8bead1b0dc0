"""The steps of the chapter, one file a question."""
