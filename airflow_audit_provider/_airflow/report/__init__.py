"""Reports as one HTML file, for people who have neither Airflow nor this package."""
