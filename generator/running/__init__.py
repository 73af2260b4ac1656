"""A scaffold at work: its worker, its server, its container, and what they answer."""
