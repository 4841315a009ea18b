"""Conversion between Arrow tables and the variables that a model sees.

`TableEncoder` is the entry point; nothing here knows networks or distributions.
"""
