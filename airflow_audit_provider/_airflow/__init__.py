"""Private Airflow layer shared by hooks, operators, sensors and triggers."""
