"""Goals for the costs around a pull, and the command that measures all of them in one run."""
