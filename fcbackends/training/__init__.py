"""Training: networks held open, whole runs, and many runs at once."""
