"""What earlier looks saw: a small store per boot, so that the next look knows ages the kernel does not keep."""
