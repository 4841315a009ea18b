"""Prefect flows that compose tasks, their deployments, and the `chainrule` command.

Nothing imports `flows`.
"""
