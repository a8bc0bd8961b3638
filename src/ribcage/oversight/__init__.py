"""Drill, demo, anomalies, notices, attack surface, compliance: the rooms that watch the others."""
