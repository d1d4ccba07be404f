#!/usr/bin/env python
"""Classify pictures: python predict.py --img test.jpg --prefix resnet-50 --epoch 0."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from ibnnet_mx.cli.predict import main
except (ImportError, ValueError) as error:  # an environment that cannot work
    print(f'predict: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main(default_names=Path(__file__).with_name('synset.txt')))
