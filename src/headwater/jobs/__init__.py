"""Work that outlives the process that was asked to do it."""
