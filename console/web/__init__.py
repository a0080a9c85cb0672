"""The staff console: signing in, and broadcasts. Pages are made here; what they do goes through the REST API."""

from console.web.app import add_routes
from console.web.frame import ConsoleDeps

__all__ = ["ConsoleDeps", "add_routes"]
