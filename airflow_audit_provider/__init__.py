"""The version of the provider, and nothing else: importing the package costs nothing.

Knows: its own version. Must not know: Airflow, or any module below it.
Its one rule: no import, so that Airflow can read the provider's declaration for free.
"""

__version__ = "1.0.0rc1"
