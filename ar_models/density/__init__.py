"""A density over the rows of a table, with its saved form and what it is used for."""
