"""What it means: objectives, agreement, capacity, figures and pages."""
