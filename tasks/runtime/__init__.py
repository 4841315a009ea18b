"""What every task runs on: storage, jobs and their manifests, Ray, progress reports.

Nothing here knows what a job computes.
"""
