"""Cameras of Linux (V4L2), spoken to directly: a frame goes from the driver's buffer into the slot.

OpenCV and FFmpeg open such cameras too, but hand out copies in a format of their choice, without
the time at which the frame was taken and without the reason why a camera does not open.
"""
