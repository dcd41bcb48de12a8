"""Deployments that have a schedule get their runs from the server, without anybody asking."""

import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.types.entrypoint import EntrypointType

from zoopipe_prefect import load_flow

pytestmark = pytest.mark.usefixtures("prefect_api")

PATIENCE_SECONDS = 60.0  # the server looks for new deployments every five
DAILY = {"cron": {"cron": "0 2 * * *"}, "interval": {"interval": timedelta(days=1)}}
PARAMETERS = {"pipe": "loads.py:users"}


def deploy(name: str, schedule: dict[str, Any]) -> DeploymentFilter:
    deployment = load_flow.to_deployment(
        name, parameters=PARAMETERS, entrypoint_type=EntrypointType.MODULE_PATH, **schedule
    )
    return DeploymentFilter(id=DeploymentFilterId(any_=[deployment.apply()]))


def test_a_scheduled_load_gets_its_runs_by_itself() -> None:
    deployed = {kind: deploy(f"by-{kind}", schedule) for kind, schedule in DAILY.items()}
    deadline = time.monotonic() + PATIENCE_SECONDS
    with get_client(sync_client=True) as client:
        for kind, mine in deployed.items():
            while not (runs := client.read_flow_runs(deployment_filter=mine)):
                assert time.monotonic() < deadline, f"no run by {kind} has been scheduled"
                time.sleep(0.2)
            assert {(run.state_name, run.auto_scheduled) for run in runs} == {("Scheduled", True)}
            assert all(run.parameters == PARAMETERS for run in runs)
            due = sorted(run.expected_start_time.timestamp() for run in runs if run.expected_start_time is not None)
            assert {later - earlier for earlier, later in pairwise(due)} == {timedelta(days=1).total_seconds()}
