"""`python -m unscene`, for launchers that want a module."""

import sys

from unscene.cli import main

sys.exit(main())
