"""What should happen: scenarios, the plan that they fix, clients' defaults, profiles."""
