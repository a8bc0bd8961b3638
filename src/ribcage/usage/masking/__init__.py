"""The masked view: an allow-list applied as a splice on header bytes."""
