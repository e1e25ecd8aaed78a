"""What happened: the run dataset, indicators and checks, one definition for both engines."""
