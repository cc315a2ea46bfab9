"""Starts a real Airflow and a fake Cloudflare as processes; shared by the demo, the tests and the benchmark."""
