"""Text that somebody sent: netstat, ss, lsof and /proc/net/tcp of Linux, BSD, macOS and Windows, read as Snapshots."""
