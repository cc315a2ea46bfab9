"""CPU time that a pull adds to the start of a task: an empty task and the operator, by Airflow's own task runner."""
