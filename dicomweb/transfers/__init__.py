"""Images moved between sites as durable jobs."""
