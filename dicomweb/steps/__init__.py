"""Performed procedure steps, told on to the systems of the site that want to know."""
