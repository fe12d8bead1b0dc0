"""Sequential recommendation: data, encoders, losses and metrics that several chapters share."""
