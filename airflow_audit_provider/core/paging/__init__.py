"""The page protocol: reads every record of a window exactly once, in order, and proves that none is left."""
