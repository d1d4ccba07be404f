import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from ibnnet_mx.cli.im2rec import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main())
