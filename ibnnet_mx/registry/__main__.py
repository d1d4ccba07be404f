"""python -m ibnnet_mx.registry: the table of the networks."""

import sys

from ibnnet_mx.cli.models import main

sys.exit(main())
