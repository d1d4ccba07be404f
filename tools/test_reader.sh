#!/usr/bin/env bash
# Runs the tests of the reader without mxnet, with the newest numpy and OpenCV, in .venv-reader.
# PYTHON_READER=... chooses the interpreter; otherwise the newest of Python 3.13 to 3.8 that runs here, then uv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv-reader
STAMP=$VENV/.made-from
PACKAGES=('pytest>=7' 'pytest-xdist>=3' 'hypothesis>=6' Pillow)
TESTS=(tests/recordio tests/metrics tests/errors tests/test_size.py)

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1; }

find_python() {
    local name
    for name in ${PYTHON_READER:-python3.13 python3.12 python3.11 python3.10 python3.9 python3.8}; do
        if usable "$name"; then command -v "$name"; return; fi
    done
}

python=$(find_python)
if [ -z "$python" ] && { [ -n "${PYTHON_READER:-}" ] || ! command -v uv >/dev/null; }; then
    echo "test-reader: ${PYTHON_READER:-no Python 3.8 to 3.13} with the modules venv and ensurepip does not run here: PYTHON_READER=/path/to/python3.13" >&2
    exit 1
fi
wanted="$PWD $python $(cat setup.py "${BASH_SOURCE[0]}" | cksum)"
if [ "$(cat "$STAMP" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$VENV"
    if [ -n "$python" ]; then
        "$python" -m venv "$VENV"
        install=("$VENV/bin/python" -m pip install -qq --disable-pip-version-check)
    else
        uv venv --quiet "$VENV"
        install=(uv pip install --quiet --python "$VENV/bin/python")
    fi
    "${install[@]}" -e . "${PACKAGES[@]}"
    printf '%s\n' "$wanted" >"$STAMP"
fi
"$VENV/bin/python" -c 'import cv2, numpy, platform; print("test-reader: Python", platform.python_version(), "numpy", numpy.__version__, "OpenCV", cv2.__version__)'
# The tests of compiling take long, and make test runs them.
OMP_NUM_THREADS=1 exec "$VENV/bin/python" -m pytest -n "${JOBS:-2}" -m 'not slow and not thorough' \
    -o cache_dir="$VENV/.pytest_cache" --ignore=tests/recordio/test_fast_build.py "${TESTS[@]}"
