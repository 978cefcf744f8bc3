"""The options that the sample file is generated from are those that are read."""

from pathlib import Path

import pytest

from gpupool import conf as gpupool_conf
from gpupool.db.api import Database

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
