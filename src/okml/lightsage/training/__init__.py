"""How encoders learn: positives, negatives, losses, batches and the training itself."""
