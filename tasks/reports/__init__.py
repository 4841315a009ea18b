"""Figures and page templates that evaluation and monitoring render."""
