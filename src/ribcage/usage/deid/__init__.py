"""De-identification by PS3.15 E: bytes in, bytes out, or a reason why not.

`Engine(profile, Pseudonyms(key)).release(data)` gives one instance without the identity. `docs/deid.md` says what is
done and what is not.
"""
