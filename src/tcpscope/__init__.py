"""tcpscope: the state of every TCP connection, why it is in it and what to do."""

__version__ = "0.1.0"
