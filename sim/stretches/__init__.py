"""Long runs: their time in stretches, simulated exactly around disturbances, and in part drawn from equal ones elsewhere."""
