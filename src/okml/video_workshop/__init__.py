"""Large-scale video recommenders: claims of a RecSys 2023 workshop and their sources."""
