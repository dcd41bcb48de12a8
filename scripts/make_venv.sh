#!/usr/bin/env bash
# make_venv.sh VENV WHAT: create VENV unless it is there, and install WHAT into it, editable, at the versions of
# constraints.txt. Uses uv (from PATH, else fetched into VENV) because it takes seconds where pip takes a minute;
# plain pip does the job where uv cannot be had or cannot reach the configured index.
set -euo pipefail
venv=$1
what=$2
base=${PYTHON:-python3}

if [ ! -x "$venv/bin/python" ]; then
    "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or newer is needed, '$base' is $("$base" -V 2>&1). Name another: make PYTHON=python3.12 ..." >&2
        exit 1
    }
    echo "Creating $venv" >&2
    # --clear: a half-made environment (no ensurepip, an interrupted run) must not be mistaken for a whole one.
    "$base" -m venv --clear "$venv" || {
        command -v uv >/dev/null || {
            echo "'$base -m venv' failed: install your system's python3-venv package, or uv" >&2
            rm -rf "$venv"
            exit 1
        }
        uv venv --quiet --clear --python "$base" "$venv"
    }
fi

pip_install() {
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet "$@"
}

uv=uv
if ! uv --version >/dev/null 2>&1; then
    uv=
    [ -x "$venv/bin/uv" ] || pip_install uv || echo "uv cannot be had, using pip" >&2
    [ ! -x "$venv/bin/uv" ] || uv=$venv/bin/uv
fi

echo "Installing $what into $venv" >&2
if [ -n "$uv" ]; then
    if "$uv" pip install --quiet --python "$venv/bin/python" -c constraints.txt -e "$what"; then
        exit 0
    fi
    echo "uv could not install $what, trying pip" >&2
fi
pip_install -c constraints.txt -e "$what"
