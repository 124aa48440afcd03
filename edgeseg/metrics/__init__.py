"""What is measured: mIoU and its interval, agreement, latency, and the load of the machine."""
