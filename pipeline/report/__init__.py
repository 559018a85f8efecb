"""The report of a comparison: tables, figures and one page. It draws and writes only."""
