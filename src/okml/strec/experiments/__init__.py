"""The measurements of the chapter, one file for each question."""
