"""The figures of the chapter, each a function from frames to a Picture."""
