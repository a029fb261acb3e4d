#!/usr/bin/env bash
# One virtual environment for each library, under the folder given: bash environments.sh FOLDER
# Takes the newest Python found, since some libraries have left 3.11 behind; PYTHON=... chooses another.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
where=${1:?name a folder for the environments}
newest() { for v in 3.13 3.12 3.11; do for p in "python$v" "$HOME"/.pyenv/versions/"$v".*/bin/python3; do
    "$p" -c "import venv" 2> /dev/null && { command -v "$p"; return; }; done; done; }
python=${PYTHON:-$(newest)}

environment() {
    [ -x "$where/$1/bin/python" ] && return
    echo "$1: ${*:2}"
    "$python" -m venv "$where/$1"
    "$where/$1/bin/pip" install --quiet "${@:2}"
}

mkdir -p "$where"
environment precision "$here/../../.."
environment pymc pymc nutpie
environment numpyro numpyro
environment pymc-marketing pymc-marketing nutpie
environment meridian google-meridian
