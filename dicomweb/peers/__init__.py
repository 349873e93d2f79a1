"""Other systems that hold images: a site's PACS, by DIMSE or by DICOMweb."""
