"""存储: sealed object files, ingest, retrieve, verification."""
