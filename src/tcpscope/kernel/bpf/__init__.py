"""BPF without a compiler and without a library: assembler, BTF reader, ``bpf(2)``, iterators and the ring buffer."""
