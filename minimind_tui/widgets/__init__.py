"""One widget a file, each with its own default CSS."""
