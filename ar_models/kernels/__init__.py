"""Numba kernels for processors, and the rule that decides when they pay.

The kernels compute on numpy arrays and know nothing of models, variables or tables.
"""
