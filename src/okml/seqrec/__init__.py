"""Sequential recommendation: what the chapters on user histories share."""
