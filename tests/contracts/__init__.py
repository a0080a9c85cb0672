"""Suites that every adapter inherits."""
