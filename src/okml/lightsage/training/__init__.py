"""The training of encoders: positives, negatives, losses and batches."""
