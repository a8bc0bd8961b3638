"""JSON API and static files of the web console."""
