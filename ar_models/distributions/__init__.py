"""Conditional distributions of all variables of a batch, and their parameters.

Models build on `Layout` and `Conditionals`; nothing here knows networks or tables.
"""
