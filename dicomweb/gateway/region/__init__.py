"""The region's side of gateways: errands asked of them, their health, and their HTTP addresses."""
