"""Before an old PACS: what the guard allows is asked of it by DIMSE, on loopback or a named isolated interface."""
