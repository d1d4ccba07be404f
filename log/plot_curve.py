"""Curves of training logs: python plot_curve.py --logs a.log,b.log.gz [--out curve.png]"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
try:
    from ibnnet_mx.cli.plot import main
except (ImportError, ValueError) as error:  # an environment that cannot work
    print(f'plot_curve: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main())
