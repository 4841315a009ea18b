"""Anomaly statistics, conformal p-values, explanations and imputation of encoded rows.

Modules here use any model through the contract of a family and know nothing of files.
"""
