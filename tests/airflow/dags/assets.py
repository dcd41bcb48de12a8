"""DAGs for tests/airflow whose loads are assets."""

import os
from pathlib import Path

from airflow.sdk import Asset, AssetAlias, dag
from pydantic import BaseModel

from zoopipe_airflow import ZooPipeManagerOperator, ZooPipeOperator
from zoopipe_core import Pipe


class Checked(BaseModel):
    id: int
    name: str | None


def checked():
    folder = Path(os.environ["LOAD_FOLDER"])
    (folder / "checked.csv").write_text("id,name\n1,a\nx,b\n2,c\n")
    return Pipe(folder / "checked.csv", folder / "checked.jsonl", folder / "rejects.csv", Checked)


def copies():
    folder = Path(os.environ["LOAD_FOLDER"])
    return [Pipe(folder / "users.csv", f"duckdb:///{folder}/{name}.duckdb::users") for name in ("one", "two")]


def wrong():
    folder = Path(os.environ["LOAD_FOLDER"])
    return Pipe(folder / "missing.csv", folder / "missing.jsonl")


@dag(schedule=None)
def loads_assets():
    declared = ZooPipeOperator(task_id="declared", pipe=checked, outlets=[Asset("a_name_of_its_own")])
    inferred = ZooPipeOperator(task_id="inferred", pipe=checked, infer_outlets=True)
    aliased = ZooPipeManagerOperator(task_id="aliased", pipes=copies, outlets=[AssetAlias("copies")], engine="zoosync")
    declared >> inferred >> aliased
    ZooPipeOperator(task_id="fails", pipe=wrong, infer_outlets=True, outlets=[Asset("never")])


@dag(schedule=[Asset("a_name_of_its_own"), Asset("never")])
def waits_for_assets():
    ZooPipeOperator(task_id="load", pipe=checked)


loads_assets()
waits_for_assets()
