"""Bytes to headers and back, pure: ``view`` (fast, no judgement), ``parse`` and ``emit`` (truth), checksums."""
