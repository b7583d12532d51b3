"""Work on hostile bytes in a process that may be killed: both ends of its pipe."""
