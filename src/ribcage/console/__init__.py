"""The web console: its static files (`console/` builds them) and their routes. Data comes from the rooms below."""
