"""Back up the database, restore it, and check its integrity."""
