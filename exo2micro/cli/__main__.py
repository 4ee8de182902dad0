"""``python -m exo2micro.cli``: the same as the command ``exo2micro``."""

import sys

from exo2micro.cli.app import main

sys.exit(main())
