"""Derivatives of potentials in edge vectors, written out."""
