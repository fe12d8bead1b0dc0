"""The figures of the chapter, one module a theme."""
