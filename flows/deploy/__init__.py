"""Prefect deployments, schedules, and the flows that workers run unattended."""
