"""In real time: the live driver, its clusters and faults."""
