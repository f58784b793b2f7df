"""Training objectives: one module for each, with its function and its options."""
