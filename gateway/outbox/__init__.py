"""What backends have yet to hear, kept until it is heard or a person has decided."""
