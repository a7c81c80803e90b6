"""`python -m gossamer_node`: the command line, where its script is not on the PATH."""

import sys

from gossamer_node.cli import main

sys.exit(main())
