"""A process beside the driver that undoes what was done to a system, also where the driver dies or hangs."""
