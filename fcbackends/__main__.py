"""`python -m fcbackends`: the command line."""

import sys

from fcbackends.cli import main

sys.exit(main())
