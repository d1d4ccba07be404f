#!/usr/bin/env python
"""Train from RecordIO: python train_resnet.py --depth 50 --data-dir DATA."""

import sys

from ibnnet_mx.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
