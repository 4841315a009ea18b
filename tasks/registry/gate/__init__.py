"""The promotion gate: checks of a challenger against the champion on held-out rows.

`gate` is the job; the other modules hold one group of checks each, and know nothing of
MLflow's versions and aliases.
"""
