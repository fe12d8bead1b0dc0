"""STRec: a transformer recommender that attends to a learned sample (Li et al., 2023)."""
