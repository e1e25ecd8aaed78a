"""Private brokers on loopback: started, supervised and ended together with the process that wants them."""
