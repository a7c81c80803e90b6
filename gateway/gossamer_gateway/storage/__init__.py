"""SQLite files that many requests write: one file, one owner, one transaction for all that came."""
