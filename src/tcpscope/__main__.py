"""``python -m tcpscope``."""

import sys

from tcpscope.cli.main import main

sys.exit(main(sys.argv[1:]))
