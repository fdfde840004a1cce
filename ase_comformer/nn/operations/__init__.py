"""Sums over edges as sparse products."""
