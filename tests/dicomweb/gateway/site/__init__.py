"""The gateway and the platform as processes of their own."""
