#!/usr/bin/env bash
# Every test, twice where kernels may make a difference. Tests that mostly wait for processes, servers and clusters run
# beside those that mostly compute.
#
#   scripts/run_tests.sh PYTHON [OPTION OF PYTEST ...]
set -uo pipefail

python=$1
shift
schedulers=(tests/airflow tests/prefect)
processes=(tests/coordinators tests/engines tests/manager tests/warehouse)
# A compiler behind a load has the lowest priority: beside others it takes many times as long.
compilers=(tests/kernels/test_compiler.py tests/test_warmup.py)
# Splitting looks at no cell, and a table's rows pass through the same batches as the contract's.
alike=(
    tests/adapters tests/contracts/test_adapters.py tests/test_hooks.py tests/test_bad_input.py
    --ignore-glob=*/test_splitting*.py --ignore-glob=*/test_sql*.py
)

# Each run has a folder of its own; a database server that is started by root reads it as somebody else.
folder=$(mktemp -d)
chmod 755 "$folder"
export ZOOPIPE_TEST_KERNELS=$folder/kernels # compiled once for all runs
# Before the runs begin: beside them it may take longer than a test may.
ZOOPIPE_CACHE_DIR=$ZOOPIPE_TEST_KERNELS "$python" -m zoopipe_core warmup
options=(--durations=25 "$@")
beside=()
trap 'kill "${beside[@]}" 2>/dev/null; wait; rm -rf "$folder"' EXIT

"$python" -m pytest "${schedulers[@]}" --basetemp="$folder/a" "${options[@]}" >"$folder/schedulers.log" 2>&1 &
beside+=($!)
"$python" -m pytest "${processes[@]}" --basetemp="$folder/b" "${options[@]}" >"$folder/processes.log" 2>&1 &
beside+=($!)

status=0
waiting=("${schedulers[@]}" "${processes[@]}" "${compilers[@]}")
"$python" -m pytest "${waiting[@]/#/--ignore=}" --basetemp="$folder/c" "${options[@]}" || status=$?
echo "Once more with kernels from the first row on: what comes out has to be the same"
"$python" -m pytest "${alike[@]}" --kernels=on --basetemp="$folder/d" "${options[@]}" || status=$?
for run in "${beside[@]}"; do
    wait "$run" || status=$?
done
"$python" -m pytest "${compilers[@]}" --basetemp="$folder/e" "${options[@]}" || status=$?
cat "$folder/schedulers.log" "$folder/processes.log"
exit "$status"
