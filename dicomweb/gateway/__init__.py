"""A site's gateway: the way to its PACS where nothing from outside may come in."""
