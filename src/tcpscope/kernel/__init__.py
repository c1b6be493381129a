"""All of Linux that this program touches: netlink, procfs, sysctls, namespaces, processes, BPF."""
