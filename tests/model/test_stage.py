"""The pause after a failure."""

from __future__ import annotations

from portraitd.model.stage import BackOff, Now


def test_a_pause_lasts_as_long_as_it_is_set() -> None:
    """It begins with the failure; without one there is none."""
    pause = BackOff(15.0)
    assert pause.ready(Now(0.0, 0.0))

    pause.start(Now(100.0, 100.0))

    assert not pause.ready(Now(114.9, 114.9))
    assert pause.ready(Now(115.0, 115.0))


def test_a_clock_that_jumps_changes_no_pause() -> None:
    """Neither back nor forward."""
    pause = BackOff(15.0)
    pause.start(Now(10_000.0, 100.0))

    assert pause.ready(Now(6000.0, 115.0))
    assert not pause.ready(Now(99_999.0, 114.0))


def test_a_pause_can_be_ended() -> None:
    """The cause was removed by hand."""
    pause = BackOff(15.0)
    pause.start(Now(100.0, 100.0))

    pause.reset()

    assert pause.ready(Now(100.0, 100.0))
