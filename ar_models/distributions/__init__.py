"""Conditional distributions of all variables of a batch, and their parameters.

Models build on `ParameterLayout` and `Conditionals`; nothing here knows networks or
tables.
"""
