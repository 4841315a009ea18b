"""Preparation of raw Parquet: fragments, profiles, splits and encoded batches."""
