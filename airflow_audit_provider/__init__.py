"""Version of the provider.

Invariant: imports nothing, so that Airflow can read the provider's declaration at no cost.
"""

__version__ = "1.0.0rc1"
