"""The database: one SQLite file on a local disk, one writer. All SQL lives here."""
