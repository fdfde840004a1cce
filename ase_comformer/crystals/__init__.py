"""Crystals as ``ase.Atoms``: validation, space groups, crystal axes."""
