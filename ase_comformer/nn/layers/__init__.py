"""Layers that architectures are built from."""
