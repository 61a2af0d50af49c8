"""What a prediction costs."""
