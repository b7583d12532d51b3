"""Floor 3: mutable names: accounts, tokens, repos, real git objects, rights, counts."""
