"""The witness: a log's memory outside the archive's home, with its own home, key, machine or user."""
