"""使用: the way out. `disclose` is the only door; masking happens on the header stream."""
