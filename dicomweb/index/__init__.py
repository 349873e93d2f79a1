"""What is known of every stored study, series and instance: the narrow contract and its SQLite engine."""
