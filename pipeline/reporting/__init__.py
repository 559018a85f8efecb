"""The report: its tables, figures and pages."""
