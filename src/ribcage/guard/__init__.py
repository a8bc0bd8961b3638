"""The process with the keys. Everybody else sees only `client` and `protocol`."""
