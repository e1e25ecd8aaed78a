"""In virtual time: the simulator."""
