"""`ribcage migrate`: everything of an old PACS, through the archive's own door, as a registered device."""
