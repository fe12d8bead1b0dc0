"""The steps of the chapter: each computes, logs its measurements and returns rows."""
