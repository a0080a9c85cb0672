"""The simulated providers, one module each."""
