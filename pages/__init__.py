"""Pages that anybody may open: the landing page (buyer pages follow)."""
