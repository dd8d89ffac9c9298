"""Making the records: the only part of `reproduction` that trains."""
