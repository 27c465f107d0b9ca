"""Models of other makers' formats: opened (`opening`), compared, converted and written (`export`)."""
