"""What is news reaches the view, whoever says so while it is read, and though it can't be read now."""

import pytest

from gpupool.conductor.capacity import snapshot
from gpupool.model import errors
from gpupool.model.claim import Qos
from gpupool.placement import names


@pytest.fixture
def seen(lab):
    """Return a device, and a function that returns how much of it others hold as the view says."""
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    pool_id = lab.host(agent).pool_id
    lab.made.views.refresh()

    def granted():
        view = lab.made.views.of(pool_id)
        return 100 - int(view.compute.left(Qos.GUARANTEED)[view.device_index[device.id]])

    assert granted() == 0
    return device, granted


def held(compute):
    return {"instance": {names.COMPUTE: compute}}


@pytest.mark.parametrize("what", ["foreign", "traits"])
def test_news_are_told_when_they_are_there(lab, seen, monkeypatch, what):
    """Who takes them in that moment must find the value they are about."""
    device, _ = seen
    inventory = lab.made.inventory
    found = []

    class Taken(set):
        def add(self, device_id):
            found.append((inventory.foreign(device_id, names.COMPUTE), inventory.traits(device)))

    monkeypatch.setattr(inventory, "_news", Taken())
    if what == "foreign":
        assert inventory.saw_foreign(device.id, held(30))
        assert found[0][0] == 30
        assert not inventory.saw_foreign(device.id, held(30))
    else:
        inventory._note_traits(device.id, frozenset({"CUSTOM_X"}))
        assert "CUSTOM_X" in found[0][1]
    assert len(found) == 1


@pytest.mark.parametrize("doubted", [False, True])
def test_what_could_not_be_read_is_read_the_next_time(lab, seen, monkeypatch, doubted):
    device, granted = seen
    views, inventory = lab.made.views, lab.made.inventory
    if doubted:
        # As a plan does that is taken back: there is no news of it.
        inventory.saw_foreign(device.id, held(30))
        with inventory.news():
            pass
        with lab.database.reader() as session:
            views.invalidate({host.name for host in snapshot.hosts.list_(session)})
    else:
        inventory.saw_foreign(device.id, held(30))

    def away(*_):
        raise errors.Unavailable("the database can't be reached")

    with monkeypatch.context() as broken:
        broken.setattr(snapshot, "capacities", away)
        with pytest.raises(errors.Unavailable):
            views.refresh()
    views.refresh()
    assert granted() == 30


def test_nothing_is_kept_of_devices_of_which_others_hold_nothing(lab, seen):
    device, _ = seen
    inventory = lab.made.inventory
    lab.reconcile()
    assert inventory._foreign == {}
    inventory.saw_foreign(device.id, held(30))
    assert inventory.saw_foreign(device.id, {})
    assert inventory._foreign == {}
