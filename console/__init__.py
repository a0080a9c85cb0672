"""The staff web app and the REST API beside it."""
