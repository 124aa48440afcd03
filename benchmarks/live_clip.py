"""A clip over and over as one file, without encoding anything again."""

from pathlib import Path

import av


def repeated(clip: Path, out: Path, times: int) -> Path:
    """`clip`, which has one video stream, `times` times one after the other, written to `out`."""
    with av.open(str(out), "w") as target:
        copy = None
        for turn in range(times):
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                copy = copy or target.add_stream_from_template(video)
                assert video.duration is not None
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.dts += turn * video.duration
                    packet.pts += turn * video.duration
                    packet.stream = copy
                    target.mux(packet)
    return out
