"""Items as vectors: what they are made of, how they are numbered, and how rows are shared."""
