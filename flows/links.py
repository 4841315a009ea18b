"""Links between the pages of a run in Prefect, MLflow and Ray."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prefect.artifacts import create_link_artifact
from prefect.runtime import flow_run

from tasks.runtime import cluster, environment
from tasks.runtime.deferred import DeferredModule

if TYPE_CHECKING:
    from tasks.registry import tracking
else:  # MLflow takes seconds to import.
    tracking = DeferredModule("tasks.registry.tracking")

TAGS = {"prefect": "chainrule.prefect_url", "ray": "chainrule.ray_url"}
"""Tags of an MLflow run with the addresses of the pages of Prefect and Ray."""


def flow_run_page() -> str | None:
    """Return the address of the page of this flow run; None without a Prefect server.

    The server that a command starts for itself has no pages.
    """
    if not os.environ.get("PREFECT_API_URL"):
        return None
    if environment.EMBEDDED_SERVER in os.environ:
        return None
    url: str | None = flow_run.ui_url
    return url


def link_pages(run_id: str) -> None:
    """Link an MLflow run with the pages of this flow run and of the Ray cluster.

    The MLflow run gets a tag for each of the two pages, and the flow run a link
    artifact for MLflow and for Ray. What has no page is left out.

    Args:
        run_id: Id of the MLflow run.
    """
    prefect, ray = flow_run_page(), cluster.dashboard_url()
    pages = {TAGS["prefect"]: prefect, TAGS["ray"]: ray}
    tracking.set_tags(run_id, {name: url for name, url in pages.items() if url})
    if prefect is None:
        return
    for name, url in {"MLflow run": tracking.run_page(run_id), "Ray": ray}.items():
        if url:
            create_link_artifact(url, link_text=name, description=name)
