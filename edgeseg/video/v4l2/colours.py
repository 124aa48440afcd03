"""The colours of a camera's frames, in the words of PyAV."""

from typing import NamedTuple

from edgeseg.video.v4l2.card import Taken

# enum v4l2_colorspace and v4l2_ycbcr_encoding, as far as they decide over the matrix
_DEFAULT, _SMPTE240M, _REC709, _JPEG, _BT2020, _DCI_P3 = 0, 2, 3, 7, 10, 12
_FULL, _LIMITED = 1, 2
_MATRIX_OF_SPACE = {_SMPTE240M: 8, _REC709: 2, _BT2020: 6, _DCI_P3: 2}
_BT601 = 1
"""v4l2_ycbcr_encoding"""
# AVColorSpace by v4l2_ycbcr_encoding; xvYCC has the matrices of BT.601 and BT.709.
_AV_MATRICES = {1: 6, 2: 1, 3: 6, 4: 1, 5: 6, 6: 9, 7: 10, 8: 7}
_UNSPECIFIED = 2
_AV_LIMITED, _AV_FULL = 1, 2


class Tags(NamedTuple):
    """What the frames are in."""

    matrix: int
    """AVColorSpace"""
    range: int
    """AVColorRange; 0 where the driver does not say."""


def tags_of(frames: Taken) -> Tags:
    """As the kernel's documentation fills in what a driver leaves open.

    A driver that names no colour space at all says nothing, and nothing is taken from it.
    """
    if frames.colorspace == _DEFAULT and not frames.encoding:
        matrix = _UNSPECIFIED
    else:
        encoding = frames.encoding or _MATRIX_OF_SPACE.get(frames.colorspace, _BT601)
        matrix = _AV_MATRICES.get(encoding, _UNSPECIFIED)
    if frames.quantization in {_FULL, _LIMITED}:
        return Tags(matrix, _AV_FULL if frames.quantization == _FULL else _AV_LIMITED)
    if matrix == _UNSPECIFIED:
        return Tags(matrix, 0)
    return Tags(matrix, _AV_FULL if frames.colorspace == _JPEG else _AV_LIMITED)
