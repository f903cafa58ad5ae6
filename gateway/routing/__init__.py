"""The routing core: charger -> route -> one backend answers, the others listen; and back down."""
