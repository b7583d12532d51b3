"""Who descends from whom, told from the weights."""
