#!/usr/bin/env bash
# Every test, twice where kernels may make a difference. Tests that mostly wait for processes, servers and clusters run
# beside those that mostly compute; each of the three runs takes about as long as the others.
#
#   scripts/run_tests.sh PYTHON [OPTION OF PYTEST ...]
set -uo pipefail

python=$1
shift
schedulers=(tests/airflow tests/prefect tests/test_examples.py tests/warehouse)
processes=(tests/coordinators tests/engines tests/manager tests/test_benchmarks.py tests/test_docs.py)
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
# A thousand processes begin here: each would compile all that it imports.
unset PYTHONDONTWRITEBYTECODE
pytest=("$python" -m pytest --durations=25 "$@")
beside=()
trap 'kill "${beside[@]}" 2>/dev/null; wait; rm -rf "$folder"' EXIT

# Compilers on one core; on the other the kernels for all, and then the one run that starts few processes.
(
    ZOOPIPE_CACHE_DIR=$ZOOPIPE_TEST_KERNELS "$python" -m zoopipe_core warmup
    echo "With kernels from the first row on: what comes out has to be the same"
    exec "${pytest[@]}" "${alike[@]}" --kernels=on --basetemp="$folder/d"
) >"$folder/kernels.log" 2>&1 &
beside+=($!)
status=0
"${pytest[@]}" "${compilers[@]}" --basetemp="$folder/e" || status=$?

"${pytest[@]}" "${schedulers[@]}" --basetemp="$folder/a" >"$folder/schedulers.log" 2>&1 &
beside+=($!)
"${pytest[@]}" "${processes[@]}" --basetemp="$folder/b" >"$folder/processes.log" 2>&1 &
beside+=($!)
wait "${beside[0]}" || status=$?
waiting=("${schedulers[@]}" "${processes[@]}" "${compilers[@]}")
"${pytest[@]}" "${waiting[@]/#/--ignore=}" --basetemp="$folder/c" || status=$?
for run in "${beside[@]:1}"; do
    wait "$run" || status=$?
done
cat "$folder"/{kernels,schedulers,processes}.log
exit "$status"
