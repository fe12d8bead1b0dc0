"""Item representations: content encoders, Semantic IDs, and tables with shared rows."""
