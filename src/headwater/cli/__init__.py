"""The roof: one module a command. Each works on the data folder, also while the hub runs."""
