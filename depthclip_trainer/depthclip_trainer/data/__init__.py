"""Where training frames come from; one contract (`sample.py`) behind every source."""
