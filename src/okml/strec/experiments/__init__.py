"""What the chapter measures, one file a question."""
