"""Fidelity of synthetic rows: how close they are to real rows in distribution."""
