"""One file per rule. A rule is a frozen dataclass with `check(item, context)`; it reports, and raises
nothing."""
