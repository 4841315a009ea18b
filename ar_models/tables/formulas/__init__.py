"""Formulas of constraints: cells of a column computed from other cells of the row.

`registry` lists the kinds. A formula knows Arrow arrays only: which of the rows satisfy
it and how the model uses it is the subject of `ar_models.tables.derived_column`.
"""
