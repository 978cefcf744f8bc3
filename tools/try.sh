#!/usr/bin/env bash
# Sets up all that gpupool needs in .venv and runs the demo. Needs Python, pip and gcc; no GPU.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/environment.sh"

install_extra demo
exec "$VENV/bin/gpupool-demo" "$@"
