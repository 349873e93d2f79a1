"""What becomes of stored files: compression at rest, quotas, retention, purge, scans."""
