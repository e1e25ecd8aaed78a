"""What needs both an engine and a report."""
