"""Services that were added to a node at run time: kept in SQLite, loaded on demand, travelling."""
