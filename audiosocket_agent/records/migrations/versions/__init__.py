"""One module per version, in order. A released one is never changed."""
