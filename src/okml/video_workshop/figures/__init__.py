"""The figures of the chapter, one module for each theme."""
