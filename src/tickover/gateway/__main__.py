"""`python -m tickover.gateway KEYFILE [LOOP]`: started by its client, never by hand; descriptor 0 is its channel."""

import sys

from tickover.gateway.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
