"""What commands share; there is no command in it."""
