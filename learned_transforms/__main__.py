"""``python -m learned_transforms``, the same as the command ``learned-transforms``."""

import sys

from learned_transforms.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
