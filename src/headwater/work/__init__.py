"""What the hub does when nobody is waiting: the kinds of jobs, and what makes them."""
