"""Events, counts and accounts in a database."""
