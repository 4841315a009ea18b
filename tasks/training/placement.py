"""Processors and GPUs of the training workers, checked before Ray waits for them."""

from collections.abc import Sequence

import ray

from tasks.config.resources import Resources


def cluster_cpus() -> list[int]:
    """Return the number of processors of each node that is alive."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [int(node.get("CPU", 0)) for node in nodes]


def cpus_per_worker(resources: Resources, nodes: Sequence[int]) -> int:
    """Return how many processors each worker gets, the most with which they fit.

    If the number of workers may change, as many as with which the least number fits.

    Args:
        resources: Number of workers, and processors per worker if configured.
        nodes: Number of processors of each node.

    Raises:
        ValueError: The workers do not fit on the nodes; Ray would wait forever.
    """
    configured = resources.cpus_per_worker
    choices = [configured] if configured else range(max(nodes, default=0), 0, -1)
    for cpus in choices:
        if sum(node // cpus for node in nodes) >= resources.min_workers:
            return cpus
    raise ValueError(
        f"resources: {resources.min_workers} workers of {configured or 1} processors "
        f"do not fit on nodes with {list(nodes)} processors; lower workers or "
        "cpus_per_worker, or add nodes"
    )


def check_gpus(resources: Resources, available: float) -> None:
    """Raise a ValueError if the cluster has fewer GPUs than the workers need.

    Args:
        resources: Number of workers and of GPUs per worker.
        available: Number of GPUs in the cluster.
    """
    workers = resources.min_workers
    needed = workers * resources.gpus_per_worker
    if needed > available:
        raise ValueError(
            f"resources: {workers} workers with {resources.gpus_per_worker} "
            f"GPUs each need {needed}, the cluster has {available:g}; lower workers "
            "or gpus_per_worker"
        )
