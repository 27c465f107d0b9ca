"""One decoding step compiled for this machine: C beside this file, built at first use, driven through ctypes."""
