"""The scenes: one file for each state, transition and illness (with its trap). Importing a file registers them."""
