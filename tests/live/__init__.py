"""Tests with a real Airflow; each of the four versions is started once for all tests below this folder."""
