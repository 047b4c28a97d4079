"""`python -m emotion_circuits` is the command `emotion-circuits`."""

import sys

from emotion_circuits.cli import main

if __name__ == "__main__":
    sys.exit(main())
