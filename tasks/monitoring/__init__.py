"""Drift between reference data and new rows."""
