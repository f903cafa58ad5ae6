"""What the configuration says of single messages: what becomes of them, what is changed in them, and who is called what."""
