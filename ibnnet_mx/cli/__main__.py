"""python -m ibnnet_mx.cli COMMAND ...: the program ibnnet, for environments whose scripts are not on the PATH."""

import sys

from ibnnet_mx.cli.main import main

sys.exit(main())
