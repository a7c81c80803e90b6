"""What a guest may ask of its host, by its imports and by name, and with what that is done."""
