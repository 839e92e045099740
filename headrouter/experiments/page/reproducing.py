"""Give for each configuration the file, and for each cell the command, that make it again."""

from collections.abc import Mapping

import yaml

from headrouter.experiments.configuration import slug_of
from headrouter.experiments.file.entries import data_entry
from headrouter.experiments.page.gathering import Gathered, Ran


def file_name(ran: Ran) -> str:
    """Return the name of the file of a configuration."""
    return f"{slug_of(ran.group)}-{slug_of(ran.name)}.yaml"


def experiment_file(gathered: Gathered, ran: Ran) -> str:
    """Return an experiment of one configuration, as a file; empty where the run folder does not say it."""
    entry, dataset = ran.plain.get("file"), gathered.top.get("dataset")
    if not entry or not isinstance(dataset, Mapping):
        return ""
    whole = {
        "name": f"{gathered.top.get('experiment')}, {ran.key}",
        **data_entry(dataset, gathered.origin.metrics),
        "seeds": list(ran.seeds) or [0],
        **entry,
    }
    commit = gathered.top.get("environment", {}).get("commit")
    versions = ran.plain.get("describes", {}).get("code", {})
    order = sorted(versions.items(), key=lambda one: one[0] != "headrouter")
    known = ", ".join(f"{name} {code.get('version')}" for name, code in order if code.get("version"))
    head = f"# Made by {known or 'unknown versions'}{f', commit {commit}' if commit else ''}; hash {ran.hash}.\n"
    return head + yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=120)


def command(ran: Ran) -> str:
    """Return the command that makes a cell again, with ``ITEM`` and ``SEED`` in the places of its key and seed."""
    return f"headrouter experiment run {file_name(ran)} -o again --item ITEM --set 'seeds=[SEED]'"
