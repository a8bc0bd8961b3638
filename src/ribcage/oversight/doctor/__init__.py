"""`ribcage doctor`: facts in, findings out. Nothing here looks at a machine; `ribcage.cli` collects the facts."""
