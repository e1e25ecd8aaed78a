"""EventDrill: rehearse an event-driven system before it breaks."""
