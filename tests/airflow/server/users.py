"""Airflow's own users and roles, and one user who may not see everything."""

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class UsersWithLimits(SimpleAuthManager):
    """The user `guest` may see neither the DAG `secret`, nor the XComs of the DAG `loads_mapped`."""

    def is_authorized_dag(self, *, user: Any, access_entity: Any = None, details: Any = None, **others: Any) -> bool:
        if user.username == "guest" and details is not None:
            if details.id == "secret":
                return False
            if details.id == "loads_mapped" and access_entity is DagAccessEntity.XCOM:
                return False
        return super().is_authorized_dag(user=user, access_entity=access_entity, details=details, **others)
