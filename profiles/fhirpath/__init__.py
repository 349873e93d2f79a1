"""FHIRPath: `parser` (text → tree), `compiler` (tree → closure), `functions`, `operators`, and `paths`, the
plain paths of search parameters, compiled to straight steps."""
