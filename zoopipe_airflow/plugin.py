"""The plug-in of Airflow's UI: a tab on each task instance, and a page of recent loads.

Airflow imports plug-ins in each of its processes, those that run tasks and parse DAGs too, so the pages themselves are
imported only where they are served.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from zoopipe_airflow.links import LOAD_REPORT, URL_PREFIX

__all__ = ["ZooPipePlugin"]

_PAGES = URL_PREFIX.removeprefix("/")  # relative: Airflow's UI may be at any place below its server


class ZooPipePlugin(AirflowPlugin):
    """Found by Airflow through the entry point `airflow.plugins`."""

    name = "zoopipe"
    external_views: list[Any] = [  # noqa: RUF012  # as Airflow declares it
        {
            "name": LOAD_REPORT,
            "destination": "task_instance",
            "href": f"{_PAGES}/dags/{{DAG_ID}}/runs/{{RUN_ID}}/tasks/{{TASK_ID}}/{{MAP_INDEX}}",
            "url_route": "zoopipe-load-report",
        },
        {
            "name": "Loads",
            "destination": "nav",
            "category": "browse",
            "href": f"{_PAGES}/loads",
            "url_route": "zoopipe-loads",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """What Airflow's api-server mounts."""
        from zoopipe_airflow.pages.app import app

        return [{"app": app, "url_prefix": URL_PREFIX, "name": "ZooPipe"}]
