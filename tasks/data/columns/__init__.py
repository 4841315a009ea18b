"""From sketches of the training rows to the specifications of columns.

Import `infer_column` from `tasks.data.columns.infer`; the other modules build one kind
of column each. This package does not know files, splits or how sketches are computed.
"""
