"""What was said once, said again to another backend; and what differs between two answers, exchanges or sessions."""
