"""QIDO-RS, WADO-RS, STOW-RS (PS3.18) and the log-in routes."""
