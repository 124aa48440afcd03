"""What `edgeseg bench` prints."""

from typing import TYPE_CHECKING

import typer

from edgeseg.cli.show import points, print_table

if TYPE_CHECKING:
    from edgeseg.benchmark import Benchmark
    from edgeseg.benchmark_live import CameraLoad, Live
    from edgeseg.memory_bench import MemoryComparison
    from edgeseg.metrics.energy import During
    from edgeseg.metrics.latency import LatencySummary


def print_report(found: "Benchmark") -> None:
    """The benchmark as tables."""
    rows = [("network alone", f"{found.fps:.1f}", *_quantiles(found.latency_ms))]
    if found.gpu_ms:
        rows.append(("of that on the GPU", "", *_quantiles(found.gpu_ms)))
    if found.end_to_end:
        loop = found.end_to_end
        what = f"end to end, {loop.workers} workers (age of a result)"
        rows.append((what, f"{loop.fps:.1f}", *_quantiles(loop.age_ms)))
    title = f"{found.network} {found.precision} {found.size} on {found.backend}"
    if found.memory:
        title += f", {found.memory} memory, {found.sync or 'unknown'} wait"
    print_table(title, ("", "fps", "p50 ms", "p95 ms", "p99 ms"), rows)
    if found.stages_ms:
        print_table(
            "Per frame in one worker",
            tuple(found.stages_ms),
            [[*map(points, found.stages_ms.values())]],
        )
    if found.live:
        print_live(found.live)
    print_table("Versus", ("rival", "this engine"), _rivals(found.versus))
    _print_board(found)
    _print_during("network alone", found.during)
    if found.end_to_end:
        _print_during("end to end", found.end_to_end.during)
    _print_load(found.machine, found.foreign_load)


def print_live(live: "Live") -> None:
    """What each source offered and what became of it, and what is wrong with that."""
    offered = "as they came" if live.rate is None else f"{live.rate:g} fps asked for"
    columns = [_camera_cells(camera) for camera in live.cameras]
    print_table(
        f"Sources, {offered}",
        ("", *(camera.name for camera in live.cameras)),
        list(zip(_CAMERA_ROWS, *columns, strict=True)),
    )
    for camera in live.cameras:
        for line in _camera_notes(camera):
            typer.echo(f"{camera.name}: {line}")


def print_memory(found: "MemoryComparison") -> None:
    """The modes of memory as a table, and what they come down to."""
    rows = [
        (
            one.mode,
            str(one.copies_per_frame),
            f"{one.wall_ms.p50:.2f}",
            f"{one.wall_ms.p99:.2f}",
            points(one.gpu_ms.p50 if one.gpu_ms else None),
            points(one.gpu_ms.p99 if one.gpu_ms else None),
        )
        for one in found.modes
    ]
    print_table(
        f"{found.engine} on {found.gpu}: frame in, labels out, {found.sync} wait",
        ("memory", "copies a frame", "wall p50 ms", "p99 ms", "GPU p50 ms", "p99 ms"),
        rows,
    )
    for mode, reason in found.left_out.items():
        typer.echo(f"{mode} was left out: {reason}")
    better = found.auto != found.recommended
    typer.echo(
        f"fastest here: --memory {found.recommended}; auto takes {found.auto}"
        + (f", so say --memory {found.recommended} in run" if better else "")
    )
    _print_during("these frames", found.during)
    _print_load(found.machine, found.foreign_load)


def _quantiles(summary: "LatencySummary") -> tuple[str, str, str]:
    return f"{summary.p50:.2f}", f"{summary.p95:.2f}", f"{summary.p99:.2f}"


_CAMERA_ROWS = (
    "offered",
    "achieved",
    "dropped, late",
    "jitter: deviation of the interval, ms",
    "p99 of the interval, ms",
    "age p50, p95, p99, ms",
    "flicker, % of still pixels",
)


def _camera_cells(camera: "CameraLoad") -> tuple[str, ...]:
    return (
        f"{camera.offered} frames, {points(camera.offered_fps)} fps",
        f"{camera.frames} results, {points(camera.fps)} fps",
        f"{camera.dropped}, {camera.late}",
        points(camera.jitter_ms),
        points(camera.interval_ms.p99 if camera.interval_ms else None),
        ", ".join(_quantiles(camera.age_ms)) if camera.age_ms else points(None),
        points(camera.flicker_percent),
    )


def _camera_notes(camera: "CameraLoad") -> list[str]:
    notes = []
    if camera.kept_pace is False:
        notes.append(
            f"COULD NOT BE PLAYED at {camera.asked_fps:g} fps: it gave {points(camera.offered_fps)}"
        )
    if trend := camera.age_trend:
        grows = "the age GROWS" if trend.grows else "the age does not grow"
        change = f"{trend.ms_per_minute:+.2f} +- {trend.error_ms_per_minute:.2f} ms a minute"
        notes.append(f"{grows}: {change}")
    if camera.counts.reconnects:
        notes.append(f"lost and found again {camera.counts.reconnects} times")
    return notes


def _rivals(versus: dict[str, object]) -> list[tuple[str, str]]:
    rows = []
    for name, rival in versus.items():
        assert isinstance(rival, dict)
        if name == "paper":
            what = f"{rival['network']} on a {rival['gpu']}, {rival['fps']:.0f} fps"
            ratios = f"{rival['ratio_fps']:.1f} x fps; {rival['ratio_gmac_per_s']:.2f} x GMAC/s"
            rows.append((what, ratios))
        else:
            rows.append((f"{rival['name']} on {rival['backend']}", f"{rival['ratio']:.2f} x"))
    return rows


def _print_board(found: "Benchmark") -> None:
    """Power mode and clocks of a Jetson, and what slows a card down; other machines say nothing."""
    state = found.board.after
    for card in state.cards or ():
        if card.slowed_by:
            typer.echo(f"{card.name} is SLOWED DOWN: {', '.join(card.slowed_by)}")
    if state.gpu is None and state.power_mode is None:
        return
    for reason in state.throttling or ():
        typer.echo(f"the board is SLOWED DOWN: {reason}")
    held = {True: "on", False: "off", None: "unknown"}[state.jetson_clocks]
    clock = "unknown" if state.gpu is None else f"{state.gpu.current_mhz:.0f} MHz"
    heat = max((state.temperatures_c or {}).values(), default=None)
    typer.echo(
        f"power mode {state.power_mode or 'unknown'}, jetson_clocks {held}, GPU {clock}"
        + ("" if heat is None else f", hottest part {heat:.0f} C")
    )


def _print_during(what: str, during: "During") -> None:
    if during.mj_per_frame is not None and during.power_mw_mean is not None:
        watts = during.power_mw_mean / 1e3
        typer.echo(f"{what}: {watts:.1f} W, {during.mj_per_frame:.0f} mJ a frame")
    if during.clocks_moved:
        typer.echo(f"{what}: CLOCKS MOVED, do not quote these figures - {during.reason}")
    if during.note:
        typer.echo(f"{what}: {during.note}")


def _print_load(
    machine: dict[str, str | int | float | None], foreign: dict[str, float | bool | None]
) -> None:
    named = machine["jetson"] or machine["cpu"] or machine["architecture"]
    where = ", ".join(str(part) for part in (named, machine["gpu"]) if part)
    said = "unknown" if foreign["cpus"] is None else f"{foreign['cpus']:.2f} CPUs"
    note = " - DIRTY: do not quote these figures" if foreign["dirty"] else ""
    typer.echo(f"{where}, {machine['cores']} cores; foreign load {said}{note}")
