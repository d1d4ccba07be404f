import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
try:
    from ibnnet_mx.cli.im2rec import main
except (ImportError, ValueError) as error:  # an environment that cannot work
    print(f'im2rec_wrapper: {error}', file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    sys.exit(main())
