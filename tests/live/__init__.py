"""A real Airflow, each of the four versions started once for all tests below this folder."""
