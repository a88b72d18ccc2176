"""The built-in tools of a business: they look things up for a caller, and write things down."""
