"""Time windows: which one a run covers, and whether it can be read yet."""
