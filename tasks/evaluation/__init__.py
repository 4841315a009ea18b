"""Held-out metrics, model comparison and the fidelity of synthetic rows."""
