"""Becomes a Java process that ends with the driver: `python -P -m loadgen.java.launch DRIVER_PID JAVA ARGUMENTS...`. Imports nothing heavy."""

import os
import signal
import sys

from loadgen.process_end import end_with_parent


def main() -> None:
    """Arrange the end, leave Ctrl-C to the driver, and become Java."""
    driver_pid, program, *arguments = sys.argv[1:]
    end_with_parent(int(driver_pid))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Java leaves alone what is ignored when it starts
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main()
