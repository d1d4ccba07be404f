#!/usr/bin/env bash
# Installs a wheel with the extras cpu and digits in a fresh environment, with nothing but that environment on the PATH,
# and packs, trains and predicts there. Fails if the reader or the operators of the wheel are not used.
set -euo pipefail
wheel=$(realpath "$1")
python=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../.venv/bin/python")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

"$python" -m venv venv
alone() { env -i PATH="$place/venv/bin" HOME="$place" LANG=C.UTF-8 ${OMP_NUM_THREADS:+OMP_NUM_THREADS=$OMP_NUM_THREADS} "$@"; }
pip_settings=$(env | grep '^PIP_' || true)
# shellcheck disable=SC2086
alone $pip_settings python -m pip install -qq --disable-pip-version-check "$wheel[cpu,digits]"
alone python - <<'END'
import shutil
from ibnnet_mx import operators
from ibnnet_mx.operators import trial
from ibnnet_mx.recordio.fast import native

compilers = [name for name in ('gcc', 'g++', 'cc', 'c++', 'clang') if shutil.which(name)]
assert not compilers, compilers
assert native.functions() is not None, 'the reader of the wheel is not loaded'
assert operators.fused(), 'the operators of the wheel are not loaded'
trial.run(str(operators.LIBRARY))
print('dist: reader and', len(trial.registered()), 'operators of the wheel are loaded, and their results are right')
END
alone ibnnet pack digits DATA
alone ibnnet train --data-dir DATA --recipe digits --epochs 3 --model-prefix model/digits
alone ibnnet evaluate DATA --prefix model/digits
