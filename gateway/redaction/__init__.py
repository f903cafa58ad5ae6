"""What is hidden of messages wherever they are shown: idTags, secrets, and where chargers can be called."""
