#!/usr/bin/env bash
# Sets up all that the tests need, Debian's packages too where it may, then lints, checks types, tests.
#   tools/test.sh [PYTEST ARGUMENTS]     with arguments: only pytest, with these
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/environment.sh"
cd "$ROOT"

# What the integration tests start; a test whose service is missing is skipped, with its reason.
DEBIAN=(gcc libc6-dev musl-tools nginx-light podman python3-venv runc rabbitmq-server mariadb-server postgresql)

install_debian() {
    local missing=() name
    command -v apt-get >/dev/null || return 0
    for name in "${DEBIAN[@]}"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        say "Not root, so not installed: ${missing[*]}. Tests that need them are skipped."
        return 0
    fi
    say "Installing Debian packages: ${missing[*]} ..."
    # The packages' own services stay off: every test starts its own, and stops it.
    local policy=/usr/sbin/policy-rc.d made=
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made=1; }
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
    [ -z "$made" ] || rm -f $policy
}

install_debian
install_extra test
PATH=$VENV/bin:$PATH
if [ $# -gt 0 ]; then exec pytest "$@"; fi

say "== lint"
ruff check
ruff format --check
say "== types"
mypy
say "== tests"
exec pytest -n "${TEST_WORKERS:-2}" --dist loadgroup
