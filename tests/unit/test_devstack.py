"""What the DevStack plug-in configures, with DevStack's own functions played by the test."""

import subprocess
from pathlib import Path

from gpupool import conf as gpupool_conf
from gpupool.agent.folders import Folders

PLUGIN = Path(__file__).parents[2] / "devstack"
PROGRAM = """
define_plugin() { :; }; enable_service() { :; }; is_service_enabled() { false; }; sudo() { :; }
iniset_rpc_backend() { :; }; database_connection_url() { :; }; setup_logging() { :; }
configure_keystone_authtoken_middleware() { :; }; write_uwsgi_config() { :; }
iniset() { printf '[%s]\\n%s = %s\\n' "$2" "$3" "$4" >>"$1"; }
ENABLE_DEBUG_LOG_LEVEL=True STACK_USER=stack DEST=/opt/stack DATA_DIR=/opt/stack/data
GPUPOOL_CONF_DIR=$1
. "$2/settings"
. "$2/plugin.sh"
configure_gpupool
"""


def test_the_agent_needs_no_folder_that_only_root_can_make(tmp_path):
    subprocess.run(["bash", "-euc", PROGRAM, "bash", tmp_path, PLUGIN], check=True)
    conf = gpupool_conf.new(files=[str(tmp_path / "gpupool.conf")])
    folders = Folders.from_conf(conf)
    own = Path("/opt/stack/data/gpupool")
    assert [folders.state, folders.run, folders.cdi] == [own, own / "run", own / "cdi"]
