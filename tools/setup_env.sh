#!/usr/bin/env bash
# Makes .venv with the project (editable) and what its tests need; does nothing where that stands already.
# PYTHON=... chooses the interpreter; otherwise python3.11, 3.10, 3.9, 3.8 by name, then uv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

GLUONCV=gluoncv==0.10.5.post0  # without what it asks for: its opencv-python owns the files of the headless one
STAMP=.venv/.setup-done  # what the installation was made from; written last, so a broken setup leaves none
IS_USABLE='import sys, venv, ensurepip; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))'

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

usable() { "$1" -c "$IS_USABLE" >/dev/null 2>&1; }  # run for real: a pyenv shim can be there and fail
base_of() { "$1" -c 'import sys; print(sys.base_prefix, *sys.version_info[:3])' 2>/dev/null; }
wanted_stamp() { cksum setup.py constraints.txt pyproject.toml tools/setup_env.sh ibnnet_mx/operators/build.py ibnnet_mx/operators/cpp/* ibnnet_mx/recordio/fast/build.py ibnnet_mx/recordio/fast/*.[ch]; }

venv_is_ours() {  # it runs, it was made here (its scripts hold its path), and by the PYTHON asked for
    [ "$(cat .venv/.made-at 2>/dev/null)" = "$PWD" ] || return 1
    [ -z "${PYTHON:-}" ] || [ "$(base_of "$PYTHON")" = "$(base_of .venv/bin/python)" ] || return 1
    .venv/bin/python -c '' 2>/dev/null
}

find_python() {
    local name
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" || fail "PYTHON=$PYTHON is no Python 3.8 to 3.11 that runs here and has the modules venv and ensurepip"
        echo "$PYTHON"
        return
    fi
    for name in python3.11 python3.10 python3.9 python3.8; do
        if usable "$name"; then echo "$name"; return; fi
    done
}

make_venv() {
    local python
    python=$(find_python)
    rm -rf .venv
    if [ -n "$python" ]; then
        say "making .venv with $python ($("$python" -c 'import platform, sys; print(platform.python_version(), sys.executable)'))"
        "$python" -m venv .venv
    elif command -v uv >/dev/null; then
        say 'making .venv with the Python 3.11 of uv'
        uv venv --quiet --python 3.11 .venv
    else
        fail 'no Python 3.8 to 3.11 with the modules venv and ensurepip found: install one (Debian and Ubuntu:' \
            'apt install python3.11 python3.11-venv; elsewhere: pyenv install 3.11, or uv from https://docs.astral.sh/uv),' \
            'or name one with make setup PYTHON=/path/to/python3.11'
    fi
    printf '%s\n' "$PWD" >.venv/.made-at
}

install() {
    local pins=()
    if [ "$(.venv/bin/python -c 'import sys; print(*sys.version_info[:2])')" = '3 11' ]; then pins=(-c constraints.txt); fi
    say 'installing ibnnet_mx[cpu,dev] into .venv (about 1 GB; a minute or more)'
    if .venv/bin/python -c 'import pip' 2>/dev/null; then
        .venv/bin/python -m pip install -qq --disable-pip-version-check 'pip>=21.3'  # the first with such editable installs
        .venv/bin/python -m pip install -qq --disable-pip-version-check -e '.[cpu,dev]' ${pins[@]+"${pins[@]}"}
        .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps "$GLUONCV"
    else
        uv pip install --quiet --python .venv/bin/python -e '.[cpu,dev]' ${pins[@]+"${pins[@]}"}
        uv pip install --quiet --python .venv/bin/python --no-deps "$GLUONCV"
    fi
}

if venv_is_ours; then
    if [ "$(cat "$STAMP" 2>/dev/null)" = "$(wanted_stamp)" ]; then exit 0; fi
else
    make_venv
fi
rm -f "$STAMP"
install
.venv/bin/python -m ibnnet_mx build operators ||
    say 'all works without, but training on the CPU takes 1.1 to 1.6 times as long; once there is a compiler: make clean setup'
.venv/bin/python -m ibnnet_mx build reader || true  # it says what is lost, and how to get it
wanted_stamp >"$STAMP.part"
mv "$STAMP.part" "$STAMP"
say 'done'
