"""The options that the sample file is generated from are those that are read."""

from pathlib import Path

import pytest

from gpupool import conf as gpupool_conf
from gpupool.dataplane import ledger
from gpupool.db.api import Database
from gpupool.model import claim

SAMPLE = Path(__file__).parents[2] / "etc/gpupool/gpupool.conf.sample"


@pytest.mark.parametrize(("group", "opts"), gpupool_conf.list_opts())
def test_a_listed_default_is_what_is_read(group, opts):
    conf = gpupool_conf.new(files=[])
    assert {opt.dest: conf[group][opt.dest] for opt in opts} == {opt.dest: opt.default for opt in opts}


def test_the_sample_shows_how_many_connections_there_are(tmp_path):
    file = tmp_path / "gpupool.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/db\n")
    conf = gpupool_conf.new(files=[str(file)])
    Database.from_conf(conf)
    lines = SAMPLE.read_text().splitlines()
    for name in ("max_pool_size", "max_overflow", "pool_timeout"):
        assert f"#{name} = {conf.database[name]}" in lines


def test_sessions_are_bounded_by_what_a_ledger_holds():
    """Options can't import the model, nor the model the data plane; they say the same."""
    options = {opt.name: opt for opt in dict(gpupool_conf.list_opts())["conductor"]}
    assert options["sessions_per_vgpu"].default == claim.SESSIONS_DEFAULT
    assert claim.SESSIONS_MAX == ledger.SLOTS_MAX
    for name in ("sessions_per_vgpu", "max_sessions_per_vgpu"):
        assert options[name].type.max == claim.SESSIONS_MAX
