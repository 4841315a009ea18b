"""Bulk jobs that apply a model: score, sample, impute, embed, export and backfill."""
