"""The recipient's identity written into what is relayed; see README.md."""
