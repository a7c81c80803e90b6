"""Long polls of clients, carried to the engines and back so that no job is locked for nobody."""
