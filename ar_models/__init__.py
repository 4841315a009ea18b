"""Autoregressive density models over mixed variables, for tables of any kind.

`ar_models.families` builds models, `ar_models.tables` encodes tables for them, and
`ar_models.density` holds both together, as consumers use them.

Example:
    >>> from ar_models.families.registry import build
    >>> from ar_models.variables import binary_variables
    >>> model = build("made", binary_variables(4), hidden=32)
    >>> model.log_prob(model.sample(10)).shape
    torch.Size([10])
"""
