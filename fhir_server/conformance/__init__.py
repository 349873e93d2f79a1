"""What the definitions that this server stores mean for it: terminology and search parameters."""
