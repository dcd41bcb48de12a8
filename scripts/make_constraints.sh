#!/usr/bin/env bash
# make_constraints.sh VENV: write constraints.txt, the newest versions that work together for every extra, on every
# supported Python and platform (a line holds where its marker does). No addresses, no hashes: any index will serve.
set -euo pipefail
uv=uv
uv --version >/dev/null 2>&1 || uv=$1/bin/uv
"$uv" pip compile pyproject.toml --quiet --universal --upgrade --python-version 3.11 \
    --extra all --extra dev --extra bench \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
    --output-file constraints.txt >/dev/null
if grep -nvE '^[a-z0-9.-]+==[^ ]+( ; .+)?$' constraints.txt; then
    echo "constraints.txt: the lines above are not 'name==version'" >&2
    exit 1
fi
