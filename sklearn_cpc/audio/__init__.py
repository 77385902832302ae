"""What X may be, and how it becomes samples: no torch."""
