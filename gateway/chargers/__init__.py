"""South doors: where chargers come."""
