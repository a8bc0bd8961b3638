"""The command line. `app` is the composition root: it builds everything from one `Settings`."""
