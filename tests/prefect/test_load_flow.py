"""`load_flow`: loads that are told by parameters alone."""

import json
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from tests.databases import execute
from tests.prefect.loads import artifact
from zoopipe_prefect import load_flow

pytestmark = pytest.mark.usefixtures("prefect_api")

# A file that can be imported from nowhere, with a model and a hook of its own.
LOADS = """
from pydantic import BaseModel
from zoopipe_core import BaseHook, Pipe, SQLOutputAdapter

class User(BaseModel):
    id: int

class Tenfold(BaseHook):
    def execute(self, entries, store):
        for entry in entries:
            entry["validated_data"]["id"] *= 10
        return entries

def users(source, mode="replace", table="users"):
    target = SQLOutputAdapter("sqlite:///warehouse.sqlite", table, mode=mode)
    return Pipe(source, target, "rejects.csv", User, post_validation_hooks=[Tenfold()])

def several(names):
    return [Pipe(f"{name}.csv", f"{name}.jsonl", None, User) for name in names]

everybody = users("users.csv", table="everybody")
"""


@pytest.fixture(autouse=True)
def loads(folder: Path) -> str:
    (folder / "loads.py").write_text(LOADS)
    return f"{folder}/loads.py"


def test_a_load_is_named_by_its_place_and_arguments(loads: str) -> None:
    called = load_flow(f"{loads}:users", {"source": "users.csv"}, name="by place")
    sharded = load_flow(f"{loads}:users", {"source": "users.csv", "table": "sharded"}, workers=2, engine="zoosync")
    ready = load_flow(f"{loads}:everybody")
    assert [report["loaded_rows"] for report in (called, sharded, ready)] == [2, 2, 2]
    assert len(sharded["pipes"]) == 2
    for table in ("users", "sharded", "everybody"):
        assert execute("sqlite:///warehouse.sqlite", f"SELECT id FROM {table} ORDER BY id") == [(10,), (20,)]
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(artifact("load-by-place").flow_run_id)
    assert (run.name, run.parameters["arguments"]) == ("load-by place", {"source": "users.csv"})


def test_several_loads_may_have_one_place(loads: str, folder: Path) -> None:
    (folder / "more.csv").write_text("id\n3\n")
    report = load_flow(f"{loads}:several", {"names": ["users", "more"]}, engine="zoosync")
    assert [pipe["loaded_rows"] for pipe in report["pipes"]] == [2, 1]
    with pytest.raises(ValueError, match="are for one pipe"):
        load_flow(f"{loads}:several", {"names": ["users", "more"]}, workers=2)


def test_arguments_that_the_function_does_not_take_fail_the_flow(loads: str) -> None:
    with pytest.raises(TypeError, match="colour"):
        load_flow(f"{loads}:users", {"source": "users.csv", "colour": "red"})


def test_the_flow_can_be_deployed_by_its_module_with_parameters_of_plain_json(loads: str) -> None:
    parameters = {"pipe": f"{loads}:users", "arguments": {"source": "users.csv"}, "workers": 2, "engine": "zoosync"}
    deployment = load_flow.to_deployment(
        "users", cron="0 2 * * *", parameters=parameters, entrypoint_type=EntrypointType.MODULE_PATH
    )
    assert isinstance(deployment, RunnerDeployment)
    assert deployment.entrypoint == "zoopipe_prefect.flows.load_flow"
    applied = deployment.apply()
    with get_client(sync_client=True) as client:
        stored = client.read_deployment(applied)
    assert stored.parameters == json.loads(json.dumps(parameters))
    assert set(stored.parameter_openapi_schema["properties"]) >= {
        "pipe",
        "arguments",
        "workers",
        "engine",
        "credentials",
    }
    assert stored.parameter_openapi_schema["required"] == ["pipe"]
