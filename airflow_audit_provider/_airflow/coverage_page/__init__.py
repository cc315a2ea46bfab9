"""Coverage page in Airflow's web interface: datasets, their calendar, and one page for each window."""
