"""RFC 9293, pure: the clock, sequence numbers and randomness are arguments; nothing here does I/O."""
