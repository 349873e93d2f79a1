"""A site's PACS: Orthanc with what the demonstration needs of it."""
