"""A sweep composes the config of each job once."""

import pickle

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from vlmatch import paths
from vlmatch.configs import register_search_path
from vlmatch.sweep import ComposingOnce


def test_a_job_gets_the_config_that_was_composed_to_check_it() -> None:
    register_search_path()
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        loader = ComposingOnce(GlobalHydra.instance().config_loader())
        sweep = loader.load_configuration("config", [], RunMode.MULTIRUN)
        checked = loader.load_sweep_config(sweep, ["encoder=pixels16"])
        other = loader.load_sweep_config(sweep, ["encoder=mean_colour"])
        assert (checked.encoder.name, other.encoder.name) == ("pixels16", "mean_colour")
        sent = pickle.loads(pickle.dumps(loader))
        assert loader.load_sweep_config(sweep, ["encoder=pixels16"]) is checked
        assert loader.load_sweep_config(sweep, ["encoder=pixels16"]) is not checked
        assert sent.load_sweep_config(sweep, ["encoder=mean_colour"]).encoder == other.encoder
