"""What an operator keeps of what it is given: templates within pipes, what Airflow shows, engines, load ids."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from pydantic import BaseModel, SecretStr

from zoopipe_airflow.decorators import zoopipe_task
from zoopipe_airflow.engines import check_engine, open_engine
from zoopipe_airflow.groups import zoopipe_task_group
from zoopipe_airflow.imports import load_object
from zoopipe_airflow.load_ids import load_id_of
from zoopipe_airflow.operators import ZooPipeManagerOperator, ZooPipeOperator, ZooPipeParallelOperator
from zoopipe_airflow.sources import PipeSource, PipesSource
from zoopipe_airflow.templates import describe_pipe, render_pipe
from zoopipe_core import (
    BaseEngine,
    BaseHook,
    CSVInputAdapter,
    CSVOutputAdapter,
    MultiProcessEngine,
    Pipe,
    PyGeneratorInputAdapter,
    SQLInputAdapter,
    SQLOutputAdapter,
    ZoopipeError,
    ZoosyncPoolEngine,
)
from zoopipe_core.engines.dask import DaskEngine

PASSWORD = "ein-geheimnis"


class User(BaseModel):
    id: int


class Hook(BaseHook):
    def execute(self, entries: Any, store: Any) -> Any:
        return entries


def day(text: str) -> str:
    return text.replace("{{ ds }}", "2026-01-31")


def warehouse() -> str:
    return "duckdb:///warehouse.duckdb"


@pytest.mark.parametrize(
    ("given", "rendered"),
    [
        (CSVInputAdapter("in/{{ ds }}.csv", delimiter=";"), CSVInputAdapter("in/2026-01-31.csv", delimiter=";")),
        (CSVInputAdapter(Path("in/{{ ds }}.csv")), CSVInputAdapter("in/2026-01-31.csv")),
        (CSVInputAdapter(["a.csv", "{{ ds }}.csv"]), CSVInputAdapter(["a.csv", "2026-01-31.csv"])),
        (
            SQLInputAdapter("duckdb:///{{ ds }}.duckdb", "SELECT '{{ ds }}' AS day", limit=3),
            SQLInputAdapter("duckdb:///2026-01-31.duckdb", "SELECT '2026-01-31' AS day", limit=3),
        ),
    ],
)
def test_templates_of_an_input_are_rendered_and_the_rest_stays(given: Any, rendered: Any) -> None:
    before = Pipe(given, None)
    assert render_pipe(before, day).input_adapter == rendered
    assert before.input_adapter == given


def test_all_of_a_pipe_is_rendered_and_what_is_no_template_is_kept() -> None:
    hooks, rejects = [Hook()], CSVOutputAdapter("rejects/{{ ds }}.csv", lineterminator="\r\n")
    pipe = Pipe(
        "{{ ds }}.csv", "duckdb:///w.duckdb::day_{{ ds }}", rejects, User, hooks, max_errors=1, load_id="{{ ds }}"
    )
    rendered = render_pipe(pipe, day)
    assert rendered == Pipe(
        "2026-01-31.csv",
        "duckdb:///w.duckdb::day_2026-01-31",
        CSVOutputAdapter("rejects/2026-01-31.csv", lineterminator="\r\n"),
        User,
        hooks,
        max_errors=1,
        load_id="2026-01-31",
    )


@pytest.mark.parametrize(
    "adapter",
    [
        CSVInputAdapter("users.csv", null_values=["\n", "{NA}"]),
        SQLInputAdapter(SecretStr(f"postgresql://me:{PASSWORD}{{{{ds}}}}@host/db"), table_name="users"),
        SQLInputAdapter(warehouse, table_name="users"),
        PyGeneratorInputAdapter(iter([{"id": 1}])),
    ],
)
def test_a_pipe_without_templates_is_the_same_object(adapter: Any) -> None:
    pipe = Pipe(adapter, None)
    assert render_pipe(pipe, lambda text: pytest.fail(f"rendered {text!r}")) is pipe


def test_what_a_template_becomes_is_checked_as_if_it_had_been_written() -> None:
    with pytest.raises(ZoopipeError, match="is no table name"):
        render_pipe(Pipe([{}], SQLOutputAdapter("duckdb:///w.duckdb", "{{ ds }}")), lambda text: "a.b.c")


def test_what_was_rendered_is_not_rendered_again() -> None:
    source = PipeSource(Pipe("{{ params.file }}.csv", None)).rendered(lambda text: "{{ var.value.secret }}.csv")
    assert (
        source.build(lambda text: pytest.fail(f"rendered {text!r}")).input_adapter.label == "{{ var.value.secret }}.csv"
    )


def test_what_airflow_shows_is_the_same_for_each_parse_and_has_no_secret() -> None:
    def parse() -> str:
        pipe = Pipe(
            SQLInputAdapter(f"postgresql://me:{PASSWORD}@host/db", "SELECT '{{ ds }}'"),
            SQLOutputAdapter(lambda: PASSWORD, "users"),
            f"s3://key:{PASSWORD}@bucket/rejects.csv",
            User,
            [Hook()],
        )
        secret = SQLInputAdapter(SecretStr(f"postgresql://me:{PASSWORD}@host/db"), table_name="users")
        operators = [
            ZooPipeOperator(task_id="one", pipe=pipe).pipe,
            ZooPipeManagerOperator(task_id="two", pipes=[pipe, Pipe(secret, None), warehouse]).pipes,
            ZooPipeParallelOperator(task_id="three", pipe=partial(partial(warehouse, PASSWORD)), workers=2).pipe,
        ]
        return json.dumps([operator.serialize() for operator in operators])

    shown = parse()
    assert shown == parse()
    assert PASSWORD not in shown
    assert "0x" not in shown
    assert "SELECT '{{ ds }}'" in shown


def of_a_file(path: str) -> Pipe:
    return Pipe(path, None)


class OwnEngine(BaseEngine):
    @property
    def capacity(self) -> int:
        return 1

    def launch(self, task: Any) -> Any:
        raise NotImplementedError


class BuildsEngine:
    def __call__(self) -> BaseEngine:
        return OwnEngine()


@pytest.mark.parametrize(
    "make",
    [
        OwnEngine,
        lambda: MultiProcessEngine(3),
        lambda: ZoosyncPoolEngine(2),
        lambda: DaskEngine("tcp://scheduler:8786"),
        lambda: lambda: OwnEngine(),
        lambda: partial(MultiProcessEngine, 3),
        lambda: partial(OwnEngine),
        lambda: MultiProcessEngine,
        BuildsEngine,
    ],
)
def test_what_is_stored_of_a_mapped_task_is_the_same_for_each_parse(make: Any) -> None:
    def parse() -> tuple[Any, str]:
        with DAG("mapped", schedule=None) as dag:
            pipe = Pipe("users.csv", SQLOutputAdapter(lambda: PASSWORD, "users"), schema_model=User)
            ZooPipeParallelOperator.partial(task_id="a", pipe=pipe, engine=make()).expand(workers=[1, 2])
            ZooPipeManagerOperator.partial(task_id="b", engine=make()).expand(pipes=[[pipe], [warehouse]])
            zoopipe_task(of_a_file, engine=make()).expand(path=["a.csv", "b.csv"])
            zoopipe_task_group(partial(warehouse, PASSWORD), 2)
        return dag, json.dumps(DagSerialization.to_dict(dag), sort_keys=True)

    first, second = parse(), parse()  # what the first is made of lives on, so the second lies elsewhere
    assert first[1] == second[1]
    assert "0x" not in first[1]
    assert PASSWORD not in first[1].replace("PASSWORD", "")


def test_an_operator_keeps_what_airflow_would_call_to_itself() -> None:
    assert not callable(ZooPipeOperator(task_id="load", pipe=warehouse).pipe)
    assert not callable(ZooPipeManagerOperator(task_id="load", pipes=list).pipes)


@pytest.mark.parametrize("pipes", ["users.csv", Pipe([{}], None), None, [3]])
def test_what_is_no_list_of_pipes_is_refused_when_the_dag_is_parsed(pipes: Any) -> None:
    with pytest.raises(TypeError, match=r"pipes? has to be"):
        ZooPipeManagerOperator(task_id="load", pipes=pipes)


@pytest.mark.parametrize("built", [None, "users.csv", 3, [3]])
def test_a_function_that_returns_no_pipes_is_named(built: Any) -> None:
    def build() -> Any:
        return built

    with pytest.raises(TypeError, match=r"pipes? has to be|build, given as pipes, has to be"):
        PipesSource.of(build).build(day)


def test_a_function_may_return_functions_and_places() -> None:
    pipe = Pipe([{"id": 1}], None)
    assert PipesSource.of(lambda: [pipe, lambda: pipe]).build(day) == [pipe, pipe]


@pytest.mark.parametrize("place", ["no_such_module:load", "os.path:no_such_name"])
def test_a_place_where_nothing_is_is_named(place: str) -> None:
    with pytest.raises(ImportError, match="no_such"):
        load_object(place)


@pytest.mark.parametrize("name", ["spark", "", "multi process", "package.module"])
def test_an_unknown_engine_is_refused_when_the_dag_is_parsed(name: str) -> None:
    with pytest.raises(ValueError, match="engine has to be one of 'dask', 'multiprocess', 'ray', 'zoosync'"):
        ZooPipeParallelOperator(task_id="load", pipe=warehouse, workers=2, engine=name)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("multiprocess", MultiProcessEngine),
        ("zoosync", ZoosyncPoolEngine),
        (lambda: ZoosyncPoolEngine(1), ZoosyncPoolEngine),
        ("zoopipe_core:MultiProcessEngine", MultiProcessEngine),
        (None, type(None)),
    ],
)
def test_engines_are_named_built_or_left_to_the_manager(given: Any, kind: type) -> None:
    check_engine(given)
    with open_engine(given) as engine:
        assert type(engine) is kind


def test_an_engine_that_was_given_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    monkeypatch.setattr(MultiProcessEngine, "close", lambda self: closed.append(self))
    given = MultiProcessEngine()
    with open_engine(given) as engine:
        assert engine is given
    assert closed == []
    with open_engine("multiprocess") as built:
        pass
    assert closed == [built]


@pytest.mark.parametrize("given", [warehouse, "os.path:join", 3])
def test_what_builds_no_engine_is_refused(given: Any) -> None:
    with pytest.raises(TypeError), open_engine(given):
        pass


def task_instance(**names: Any) -> Any:
    return SimpleNamespace(**({"dag_id": "dag", "task_id": "group.task", "run_id": "run", "map_index": -1} | names))


def test_a_load_id_names_the_run_of_the_task() -> None:
    assert load_id_of(task_instance()) == "dag/group.task/run"
    assert load_id_of(task_instance(map_index=3), 0) == "dag/group.task/run[3]#0"


def test_load_ids_that_cannot_be_used_as_they_are_stay_apart() -> None:
    names = [f"{'r' * 300}{end}" for end in "abc"] + ["line\nbreak", "linebreak"]
    ids = [load_id_of(task_instance(run_id=name)) for name in names]
    assert len(set(ids)) == len(names)
    for load_id in ids:
        assert Pipe([{}], None, load_id=load_id).load_id == load_id


def test_fail_on_errors_and_max_errors_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        ZooPipeOperator(task_id="load", pipe=warehouse, fail_on_errors=True, max_errors=3)


def test_the_description_of_a_pipe_leaves_out_what_is_not_there() -> None:
    assert describe_pipe(Pipe("users.csv", None)) == {"input": "CSVInputAdapter('users.csv')"}
