"""Metrics, baselines, tables, calibration."""
