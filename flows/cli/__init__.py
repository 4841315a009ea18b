"""The `chainrule` command."""
