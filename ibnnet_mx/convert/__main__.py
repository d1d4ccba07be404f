"""python -m ibnnet_mx.convert SRC DST: weights and networks from one format into another."""

import sys

from ibnnet_mx.cli.convert import main

sys.exit(main())
