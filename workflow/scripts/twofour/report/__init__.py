"""From measurements to a table, plots and a page."""
