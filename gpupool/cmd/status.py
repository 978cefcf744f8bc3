"""gpupool-status: tells whether everything is ready for this version of gpupool."""

import sys
from collections.abc import Sequence

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from gpupool import conf as configuration
from gpupool.db.api import Database
from gpupool.model import errors


class Checks(upgradecheck.UpgradeCommands):
    """The checks of ``gpupool-status upgrade check``."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    def _database(self) -> upgradecheck.Result:
        try:
            Database.from_conf(self._conf).check()
        except errors.GpupoolError as exc:
            return upgradecheck.Result(upgradecheck.Code.FAILURE, str(exc))
        return upgradecheck.Result(upgradecheck.Code.SUCCESS)

    _upgrade_checks = (("Database schema", _database),)


def main(args: Sequence[str] | None = None) -> int:
    """Run the checks; return 0 when all is ready, 1 for warnings, 2 for failures, 255 on errors."""
    conf = cfg.ConfigOpts()
    configuration.register(conf)
    argv = sys.argv[1:] if args is None else list(args)
    return int(upgradecheck.main(conf, "gpupool", Checks(conf), argv))
