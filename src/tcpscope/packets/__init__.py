"""The tracker: both ends' RFC 9293 states of every connection in a capture, with reasons."""
