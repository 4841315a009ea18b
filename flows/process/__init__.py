"""Supervised processes: one command, its child process and the reaper of both."""
