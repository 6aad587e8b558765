"""Checks a sweep before its first job: wrong names and unreadable data end it, absent models are noted."""

from collections.abc import Iterator, Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vlmatch.api.evidence import require_used
from vlmatch.configs import choices, composed, require_choices, unknown_choice, words
from vlmatch.costs.budget import Budget
from vlmatch.errors import NotHereError, VlmatchError
from vlmatch.evidence.own.cells import read_truth
from vlmatch.evidence.own.names import Names
from vlmatch.inventory.ahead import Ahead, ahead
from vlmatch.inventory.models import KINDS, Model, model
from vlmatch.machine.network import is_forbidden
from vlmatch.messages import user_message
from vlmatch.objects import build, plain
from vlmatch.packages.availability import HUB, LOGIN, MISSING, PACKAGED, UNNAMED
from vlmatch.probes.pairs import ProbeSet
from vlmatch.ranking.question import require_selection
from vlmatch.settings.work import StudySettings

OFFLINE = "offline=true"
# The keys of models over which a sweep may run.
TOLD_APART = (
    *KINDS,
    *("encoder.feature", "encoder.layer", "encoder.members", "encoder.name"),
    *("llm.layer", "llm.pooling", "llm.template", "llm.name"),
)


def validate(config: DictConfig) -> tuple[list[ProbeSet], list[str], Ahead]:
    """A sweep's probes, notes on models that are absent or will be downloaded, and its expected cost; loads no model.

    Raises VlmatchError on the first encoder, LLM or probe that has no yaml, if `selection` names no rule, if a limit of
    the budget is not a number, or if a probe can't be read. Hydra itself composes every job before it starts the first.
    """
    axes = axes_of(config)
    _require_told_apart(axes)
    require_choices([f"{group}={name}" for group, names in axes.items() for name in names])
    for group in (*KINDS, "probe"):
        for name in axes.get(group, ()):
            if name not in choices(group):
                raise VlmatchError(unknown_choice(group, name))
    _require_question(config)
    probes = _read_probes(config, axes)
    _read_truth(config)
    found = _found(config, axes)
    gpu = str(config.trainer.accelerator) not in ("cpu", "auto")
    models = [each for each in found if isinstance(each, Model)]
    n_pairs = sum(map(len, probes))
    return probes, list(_notes(found)), ahead(models, n_pairs, gpu=gpu, protocols=len(axes.get("protocol", [""])))


def _found(config: DictConfig, axes: Mapping[str, Sequence[str]]) -> list[Model | str]:
    """Each model of a sweep's jobs, or why it can't be composed."""
    side = config.task.get("side")  # only task=embed has it
    return [each for kind in KINDS if side in (kind, "both", None) for each in _models(config, kind, axes)]


def _read_truth(config: DictConfig) -> None:
    """Read the user's own truth, because errors in it would otherwise appear only at the sweep's end."""
    study = StudySettings.of("study", plain(config.study))
    require_used(study)
    if study.truth is not None:
        read_truth(study.truth, Names.of(study.names))


def _require_question(config: DictConfig) -> None:
    """Refuse an unknown rule and an unreadable budget, because they would otherwise fail only at the sweep's end."""
    require_selection(config.selection, config.score)
    Budget.of({str(key): limit for key, limit in config.budget.items()})


def _require_told_apart(axes: Mapping[str, Sequence[str]]) -> None:
    """Refuse to sweep over a key that no answer shows: results of the second value would replace those of the first."""
    for axis, values in axes.items():
        key = axis.lstrip("+")
        decides = key.partition(".")[0] in (*KINDS, "score")
        if len(values) > 1 and decides and key not in TOLD_APART:
            raise VlmatchError(
                f"{axis}={','.join(values)}: can't be swept, because results in a sweep may only differ in "
                f"{', '.join(TOLD_APART)}; run one sweep for each value, each with its own store=... or, for a setting "
                "of a model, its own name (encoder.name=...)"
            )


def axes_of(config: DictConfig) -> dict[str, list[str]]:
    """The values of each override of a sweep, as text, in their order; the command line wins over the experiment.

    Ranges from which a sweeper draws values are left out.
    """
    from hydra.core.global_hydra import GlobalHydra

    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    of_experiment = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    axes = {}
    for override in parser.parse_overrides([*of_experiment, *words(config.hydra.overrides.task)]):
        if override.is_discrete_sweep():
            axes[override.get_key_element()] = list(override.sweep_string_iterator())
        elif not override.is_sweep_override():
            axes[override.get_key_element()] = [override.get_value_element_as_str()]
    return axes


def _read_probes(config: DictConfig, axes: Mapping[str, Sequence[str]]) -> list[ProbeSet]:
    """Build every probe once, because a probe that can't be read would fail every job."""
    names = axes.get("probe", ())
    others = [f"{key}={values[0]}" for key, values in axes.items() if key != "probe"]
    several = [composed(*others, f"probe={name}") for name in names] if len(names) > 1 else [config]
    return [build(plain(chosen.probe)) for chosen in several]


def _models(config: DictConfig, kind: str, axes: Mapping[str, Sequence[str]]) -> Iterator[Model | str]:
    """Every model of an axis, as its jobs will use it, or why its config can't be resolved."""
    names = axes.get(kind, ())
    parser, own = OverridesParser.create(), {key.lstrip("+"): values[0] for key, values in axes.items()}
    overrides = {
        key.removeprefix(f"{kind}."): parser.parse_override(f"{key}={value}").value()
        for key, value in own.items()
        if key.startswith(f"{kind}.")
    }
    root = config.copy()
    for name in names if len(names) > 1 else [str(config.hydra.runtime.choices[kind])]:
        try:
            yield model(root, kind, name, overrides) if len(names) > 1 else Model.of(kind, name, config[kind])
        except (VlmatchError, OmegaConfBaseException) as error:
            yield f"{name}: {user_message(error)}"


def _notes(found: Sequence[Model | str]) -> Iterator[str]:
    """One line for all models of each status that needs something, and one for each model that can't be composed."""
    named = {
        status: [each for each in found if isinstance(each, Model) and each.availability.status == status]
        for status in (PACKAGED, HUB, LOGIN, MISSING, UNNAMED)
    }
    no_hub = _no_hub() if named[HUB] or named[LOGIN] else None
    comes = "comes at first use"
    what = {
        PACKAGED: f"not here: the package is missing, and {OFFLINE}" if is_forbidden() else f"{comes}, from a package",
        HUB: f"not here: {no_hub}" if no_hub else f"{comes}, from the hub",
        LOGIN: f"not here: {no_hub}" if no_hub else f"{comes}, from the hub, where you are logged in and have access",
        MISSING: "not here: the file that the yaml names is missing",
    }
    for status, text in what.items():
        if named[status]:
            yield f"{', '.join(each.name for each in named[status])}: {text}"
    yield from (f"{each.name}: not here: yours to name, {each.availability.weights}" for each in named[UNNAMED])
    yield from (each for each in found if isinstance(each, str))


def _no_hub() -> str | None:
    """Why the hub can't be used now, after one quick attempt to reach it; None if it can."""
    from huggingface_hub import is_offline_mode

    from vlmatch.packages.hub import Wanted, require_hub

    try:
        require_hub(Wanted("encoder", "", "", ""))
    except NotHereError:
        return (
            OFFLINE if is_forbidden() else "HF_HUB_OFFLINE is set" if is_offline_mode() else "the hub can't be reached"
        )
    return None
