"""Which conductors are gone is told by their beats, counted in looks and not in time."""

from gpupool.conductor.peers import LOOKS, Peers


def test_nobody_is_gone_before_the_first_look():
    assert not Peers().gone("a")


def test_one_whose_beats_stand_still_is_gone_and_told_of_once():
    peers = Peers()
    told = [peers.look({"a": beat, "b": 7}) for beat in range(LOOKS + 3)]
    assert told == [False] * LOOKS + [True, False, False]
    assert peers.gone("b")
    assert not peers.gone("a")
    peers.look({"a": 0, "b": 8})
    assert not peers.gone("b")


def test_one_without_a_row_is_gone_at_once():
    peers = Peers()
    assert not peers.look({"a": 1, "b": 1})
    assert peers.look({"a": 2})
    assert peers.gone("b")
    assert not peers.gone("a")


def test_an_outage_in_which_nobody_looks_makes_nobody_gone():
    peers = Peers()
    peers.look({"a": 1})
    # However long it lasts, the first look after it is one look.
    peers.look({"a": 1})
    assert not peers.gone("a")
