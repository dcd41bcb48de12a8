#!/usr/bin/env bash
# make_browser.sh: see to it that Chromium and its driver are here, for the tests that look at pages as a user does.
# Debian and what descends from it install them; elsewhere this says what is missing.
set -euo pipefail

is_here() {
    { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null &&
        command -v chromedriver >/dev/null
}

fail() {
    echo "$1: install Chromium and its driver, so that 'chromium' and 'chromedriver' are in PATH" >&2
    exit 1
}

! is_here || exit 0
command -v apt-get >/dev/null || fail "Chromium and chromedriver are not in PATH, and there is no apt-get to install them"

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "Chromium can be installed only by root, and there is no sudo"
    as_root=(sudo)
fi
echo "Installing Chromium and its driver" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! {
    "${as_root[@]}" apt-get update --quiet &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
            chromium chromium-driver fonts-dejavu-core
} >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "apt-get could not install chromium and chromium-driver"
fi
is_here || fail "apt-get installed no 'chromium' and 'chromedriver'"
