"""From a classifier and loaded sets to scores and numbers."""
