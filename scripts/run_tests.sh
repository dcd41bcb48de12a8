#!/usr/bin/env bash
# Every test, twice where kernels may make a difference. Tests that mostly wait for processes, servers and clusters run
# beside those that mostly compute.
#
#   scripts/run_tests.sh PYTHON [OPTION OF PYTEST ...]
set -uo pipefail

python=$1
shift
waiting=(tests/airflow tests/coordinators tests/engines tests/manager tests/prefect tests/warehouse)
# Splitting looks at no cell, and a table's rows pass through the same batches as the contract's.
alike=(
    tests/adapters tests/contracts/test_adapters.py tests/test_hooks.py tests/test_bad_input.py
    --ignore-glob=*/test_splitting*.py --ignore-glob=*/test_sql*.py
)

# Each run has a folder of its own; a database server that is started by root reads it as somebody else.
folder=$(mktemp -d)
chmod 755 "$folder"
log=$folder/waiting.log
export ZOOPIPE_TEST_KERNELS=$folder/kernels  # compiled once for all three
"$python" -m pytest --durations=25 "${waiting[@]}" --basetemp="$folder/a" "$@" >"$log" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null; wait; rm -rf "$folder"' EXIT

status=0
"$python" -m pytest --durations=25 "${waiting[@]/#/--ignore=}" --basetemp="$folder/b" "$@" || status=$?
echo "Once more with kernels from the first row on: what comes out has to be the same"
"$python" -m pytest --durations=25 "${alike[@]}" --kernels=on --basetemp="$folder/c" "$@" || status=$?
wait "$beside" || status=$?
cat "$log"
exit "$status"
