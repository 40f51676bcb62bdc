"""The only SQL: the connection first, one statement per function, rows or bools out."""
