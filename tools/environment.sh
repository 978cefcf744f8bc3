# Sourced by try.sh and test.sh: makes a virtual environment with this checkout in it.
# Needs Python 3.11 to 3.13 with pip, and gcc. PYTHON chooses the interpreter, VENV the folder.

PYTHON=${PYTHON:-python3}
VENV=${VENV:-$ROOT/.venv}

say() { printf '%s\n' "$*" >&2; }

need() { # COMMAND WHAT
    command -v "$1" >/dev/null || { say "$1 is missing: $2"; exit 1; }
}

still() { # WHAT COMMAND...: runs it, and says each half minute that it goes on
    local what=$1 begun=$SECONDS pid status=0
    shift
    (
        trap 'kill "$!" 2>/dev/null; exit' TERM
        while :; do
            sleep 30 &
            wait "$!"
            say "... still $what ($((SECONDS - begun)) s)"
        done
    ) &
    pid=$!
    "$@" || status=$?
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null || true
    return "$status"
}

make_venv() {
    [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && return
    # Debian keeps ensurepip in a package of its own; virtualenv brings its own pip.
    "$PYTHON" -m venv "$VENV" >/dev/null 2>&1 && return
    rm -rf "$VENV"
    "$PYTHON" -m pip install --quiet --target "$VENV.tool" virtualenv
    PYTHONPATH=$VENV.tool "$PYTHON" -m virtualenv --quiet "$VENV"
    rm -rf "$VENV.tool"
}

# install EXTRA: this checkout, editable, with what the extra names; again only when that changed.
install_extra() {
    need "$PYTHON" "install Python 3.11 to 3.13, or set PYTHON"
    need gcc "install it (Debian: apt-get install gcc libc6-dev)"
    "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
        { say "$PYTHON is $("$PYTHON" -V 2>&1); allowed: 3.11 to 3.13 (set PYTHON)"; exit 1; }
    local stamp="$VENV/.gpupool-$1" sum
    sum=$(cat "$ROOT/pyproject.toml" "$ROOT/setup.py" | sha256sum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ]; then
        say "Setting up a virtual environment in ${VENV#"$ROOT"/} (extra: $1) ..."
        make_venv
        still "installing" "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
            --editable "$ROOT[$1]"
        printf '%s' "$sum" >"$stamp"
    fi
    "$VENV/bin/python" -c 'from gpupool.dataplane import build; build.ensure()'
}
