"""What is committed in a destination: object keys, manifests, commits and checkpoints."""
