"""The only room with raw primitives: sealing format, key providers, wraps, blind index, row MACs, CA."""
