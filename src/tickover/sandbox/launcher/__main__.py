"""`python -m tickover.sandbox.launcher DATA BWRAP`: started by the backend, never by hand."""

import sys

from tickover.sandbox.launcher.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
