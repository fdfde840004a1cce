"""Trained weights: registry, integrity, cards, conversion."""
