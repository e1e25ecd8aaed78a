"""The Java client's processes: their sources in `src`, the jars they run with, and how they are compiled and started."""
