"""The laboratory: every state, transition and illness of TCP made for real, on kernel sockets in private namespaces."""
