"""Labelled records and frames, and the graphs made of them."""
