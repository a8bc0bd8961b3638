"""采集: the way in. `admit` is the only door; `disarm` bounds and scans what arrives."""
