"""The ground of every task: storage, jobs and their manifests, Ray, progress.

Nothing here knows what a job computes.
"""
