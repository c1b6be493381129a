"""The words: the only vocabulary between rooms (frozen, slotted, no behaviour beyond predicates and spelling)."""
