"""This machine: its disk, memory, network and processes, and waiting for them."""
