"""python -m ibnnet_mx.cli COMMAND ...: the program ibnnet where its script is not on the PATH."""

import sys

from ibnnet_mx.cli.main import main

sys.exit(main())
