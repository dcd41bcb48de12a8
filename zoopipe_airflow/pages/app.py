"""The pages over HTTP. Airflow mounts this app below `/zoopipe`, and authenticates nobody on its behalf."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException as StarletteHTTPException

from zoopipe_airflow.links import URL_PREFIX
from zoopipe_airflow.pages.queries import TaskKey, dags_with_loads, earlier_loads, find_load, recent_loads
from zoopipe_airflow.pages.render import CONTENT_SECURITY_POLICY, render_load, render_loads, render_message

__all__ = ["app"]

EARLIER = 10
PAGE = 50

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_TITLES = {401: "Not logged in", 403: "Not allowed", 404: "Not found"}

# No list of paths, nor a page that draws it: there is nothing for programs here.
app = FastAPI(title="ZooPipe", openapi_url=None, docs_url=None, redoc_url=None)


def _page(text: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(text, status, _HEADERS)


def _home(request: Request) -> str:
    """Where Airflow's UI is: this app's own place without its last part."""
    place: str = request.scope.get("root_path", "")
    return place.removesuffix(URL_PREFIX)


@app.exception_handler(StarletteHTTPException)
def _refuse(request: Request, error: StarletteHTTPException) -> HTMLResponse:
    title = _TITLES.get(error.status_code, "This did not work")
    text = "Log in to Airflow, then open this page again." if error.status_code == 401 else str(error.detail)
    return _page(render_message(title, text, _home(request)), error.status_code)


@app.exception_handler(RequestValidationError)
def _refuse_parameters(request: Request, error: RequestValidationError) -> HTMLResponse:
    text = "\n".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return _page(render_message("This address is wrong", text, _home(request)), 422)


@app.get(
    "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}",
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.XCOM))],
)
def show_load(
    request: Request, session: SessionDep, dag_id: str, run_id: str, task_id: str, map_index: str
) -> HTMLResponse:
    """The report of one load."""
    # Of a task that is not mapped, Airflow's UI leaves the placeholder as it is.
    index = int(map_index) if map_index.isascii() and map_index.isdigit() else -1
    key = TaskKey(dag_id, run_id, task_id, index)
    load = find_load(session, key)
    if load is None:
        raise HTTPException(404, "There is no such task instance, or not yet.")
    return _page(render_load(load, earlier_loads(session, key, EARLIER), _home(request)))


def readable_dags(request: Request, session: SessionDep, user: GetUserDep) -> set[str]:
    """The DAGs that have loads and whose XComs the user may read.

    Raises:
        HTTPException: 401: there is no user.
    """
    readable = set()
    for dag_id in dags_with_loads(session) & get_auth_manager().get_authorized_dag_ids(user=user, session=session):
        try:
            requires_access_dag("GET", DagAccessEntity.XCOM, dag_id)(request, user)
        except HTTPException:  # may see the DAG, but not its XComs
            continue
        readable.add(dag_id)
    return readable


@app.get("/loads")
def show_loads(
    request: Request,
    session: SessionDep,
    dags: Annotated[set[str], Depends(readable_dags)],
    dag_id: str | None = None,
    before: AwareDatetime | None = None,
) -> HTMLResponse:
    """Recent loads, of one DAG or of all."""
    wanted = dags if dag_id is None else dags & {dag_id}
    found = recent_loads(session, wanted, PAGE + 1, before)
    shown = found[:PAGE]
    older = None
    if len(found) > PAGE and shown[-1].ended_at is not None:
        query = {"before": shown[-1].ended_at.isoformat()} | ({"dag_id": dag_id} if dag_id is not None else {})
        older = urlencode(query)
    return _page(render_loads(shown, older, dag_id, _home(request)))
