#!/usr/bin/env python
"""Test a checkpoint: python evaluate.py --prefix model/resnet50_v2 --epoch 120 --data-dir DATA."""

import sys

try:
    from ibnnet_mx.cli.evaluate import main
except (ImportError, ValueError) as error:  # an environment that cannot work
    print(f'evaluate: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main())
