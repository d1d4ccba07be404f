"""python -m ibnnet_mx COMMAND ...: the program ibnnet, for environments whose scripts are not on the PATH."""

import sys

from ibnnet_mx.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
