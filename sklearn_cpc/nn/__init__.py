"""The networks and the loss: torch only, no files and no estimators."""
