"""This host now: its sockets, and the snapshot a diagnosis looks at."""
