"""Rules that answer a request otherwise than its engine would."""
