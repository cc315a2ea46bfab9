"""Object stores: fsspec file systems and the local file system."""
