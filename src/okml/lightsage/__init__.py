"""LightSAGE: a light graph network for item retrieval in advertising (Nguyen et al., 2023)."""
