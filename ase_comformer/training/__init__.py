"""Training: data sources, losses, metrics, the training loop and the evaluation tables."""
