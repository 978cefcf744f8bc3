"""What a conductor goes on with, nobody else ends; what those that are gone began, somebody does."""

from gpupool.conductor.peers import LOOKS, Peers
from gpupool.conductor.under_way import UnderWay


def test_what_is_begun_twice_goes_on_until_it_has_ended_twice():
    under_way = UnderWay("own", Peers())
    assert under_way.is_left("own", "claim")
    under_way.begin(["claim", "claim"])
    under_way.end(["claim"])
    assert not under_way.is_left("own", "claim")
    under_way.end(["claim"])
    assert under_way.is_left("own", "claim")


def test_what_ends_more_often_than_it_began_can_begin_again():
    under_way = UnderWay("own", Peers())
    under_way.end(["move"])
    under_way.begin(["move"])
    assert not under_way.is_left("own", "move")


def test_of_others_it_is_left_when_they_are_gone():
    peers = Peers()
    under_way = UnderWay("own", peers)
    for _ in range(LOOKS):
        peers.look({"other": 1})
        assert not under_way.is_left("other", "claim")
    peers.look({"other": 1})
    assert under_way.is_left("other", "claim")
