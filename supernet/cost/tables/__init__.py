"""Tables that give a quantity of every architecture of a space, fitted to a few networks that are built."""
