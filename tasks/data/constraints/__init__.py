"""Discovery of exact constraints between columns, and their verification.

Import `discover` from `tasks.data.constraints.discover`; each other module finds one
kind of constraint in a sample of training rows. This package does not know files; the
formulas themselves are in `ar_models.tables.formulas`.
"""
