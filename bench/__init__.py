"""Load generators and the benchmark table."""
