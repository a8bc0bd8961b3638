"""传输: protocols over TLS. Everything enters by `capture.admit` and leaves by `usage.disclose`."""
