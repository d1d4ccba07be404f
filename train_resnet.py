#!/usr/bin/env python
"""Train from RecordIO: python train_resnet.py --depth 50 --data-dir DATA."""

import sys

try:
    from ibnnet_mx.cli.train import main
except (ImportError, ValueError) as error:  # an environment that cannot work
    print(f'train_resnet: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main())
