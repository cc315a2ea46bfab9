"""Private layer between Airflow and the pipelines; hooks, operators, sensors and triggers share it."""
