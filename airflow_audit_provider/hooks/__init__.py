"""Airflow's side of the connection.

Knows: Airflow connections. Must not know: operators, sensors.
Its one rule: a shell translates and decides nothing.
"""
