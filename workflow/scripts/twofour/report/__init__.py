"""From measurements to a table, pictures and a page."""
