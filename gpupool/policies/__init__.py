"""Who may do what: one file per noun."""
