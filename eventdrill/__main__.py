"""`python -m eventdrill`: the command line, whatever the working folder holds."""

import os
import sys
from pathlib import Path

# `-m` puts the working folder first on the path, and a `sim.py` there would be imported in the place of our `sim`.
if not sys.flags.safe_path and Path.cwd() != Path(__file__).parent.parent and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - compared with what Python wrote there
    del sys.path[0]

from eventdrill.command_line import main

if __name__ == "__main__":
    main()
