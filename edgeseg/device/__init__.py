"""The machine: what it is (`info`), and the memory and streams of its GPU."""
