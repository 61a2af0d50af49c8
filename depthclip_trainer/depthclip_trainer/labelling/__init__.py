"""A teacher's labels for plain pictures."""
