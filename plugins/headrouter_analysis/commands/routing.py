"""Implement ``headrouter analyze routing``."""

import argparse

from headrouter.cli.options import refuse_below_one
from headrouter_analysis.command import add_analysis, add_semantics, load, model_of, record
from headrouter_analysis.commands.drop import add_profile, drawn_world_profile

TEXT = """Whether head weights from a measured profile edit better than those from the edit at hand, on the drawn world.

Scenes are edited in one semantic in four ways, from one inversion: plain (no routing), instance-adaptive (`headrouter` without
refinement of tokens), profile (`profile-routing` with the profile of the edit's semantic), and profile shuffled (the same weights
on the wrong heads of each layer, a control). All weights act on the same tokens, in the same steps, as strongly.
Measured: whether the edited semantic is as asked, the share of the other seven that is kept, and the RMS distance to the true
drawing of the edit. Intervals are 95 %, over edits, of paired differences.

writes routing.json   means and differences
       routing.csv    every edit
       routing.png    distance to the truth, profile against the others

example:
  headrouter analyze routing --model shapes --profile heads/heads.json --edits 4 --preset drawn --guidance 3 -o routing/
"""


def add(analyses: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the analysis."""
    parser = add_analysis(analyses, "routing", "weights from a profile against weights from the edit", TEXT, batch=4)
    add_profile(parser)
    parser.add_argument(
        "--edits", type=int, default=4, metavar="N", help="number of edits of each semantic (default: 4)"
    )
    parser.add_argument("--inversion", default="rf", metavar="NAME", help="name of the inversion (default: rf)")
    parser.add_argument(
        "--preset", metavar="NAME", help="values for the inversion and the method, listed by 'headrouter presets'"
    )
    parser.add_argument(
        "--push", type=float, metavar="0..", help="γ, largest increment (default: the preset's, or 0.2)"
    )
    add_semantics(parser)
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Edit, read, and say what differs."""
    from headrouter.editing.assembly import inversion_of, methods_of
    from headrouter.editing.tuning import with_knob, with_preset
    from headrouter.imaging.picture import writable_folder
    from headrouter.methods.head_router.method import HeadRouter
    from headrouter_analysis import figures, tables
    from headrouter_analysis.analyses.routing_trial import MEASURES, SHARED, VARIANTS, try_routing

    refuse_below_one(arguments, "edits", "batch")
    profile = drawn_world_profile(arguments)
    for name in arguments.semantic:
        profile.index(name)
    inversion, methods = with_knob("push", arguments.push, inversion_of(arguments.inversion), methods_of("headrouter"))
    folder = writable_folder(arguments.output)
    runs = load(arguments, methods)
    if arguments.preset:
        inversion, methods, _ = with_preset(arguments.preset, inversion, methods, runs.settings["steps"])
    (router,) = methods
    assert isinstance(router, HeadRouter)
    trial = try_routing(
        runs,
        inversion,
        arguments.profile,
        edits=arguments.edits,
        router=router,
        by=arguments.by,
        semantics=arguments.semantic,
        seed=arguments.seed,
        batch=arguments.batch,
        progress=not arguments.no_progress,
    )
    versus = [name for name in VARIANTS if name != "profile"]
    differences = {f"profile minus {name}": trial.difference("profile", name) for name in versus}
    differences["instance-adaptive minus plain"] = trial.difference("instance-adaptive", "plain")
    tables.write_csv(
        folder / "routing.csv",
        [
            {"variant": variant, "semantic": name, **dict(zip(MEASURES, map(float, values), strict=True))}
            for place, variant in enumerate(VARIANTS)
            for name, values in zip(trial.semantics, trial.values[place], strict=True)
        ],
    )
    lines = [(name, *(value["error"][part] for part in ("mean", "low", "high"))) for name, value in differences.items()]
    title = f"{len(trial.semantics)} edits, γ = {router.gamma:g}, profile by {arguments.by}, {model_of(arguments)}"
    figures.save(
        figures.differences(lines, title, "difference of the RMS distance to the truth"), folder / "routing.png"
    )
    tables.write_json(
        folder / "routing.json",
        {
            **record(arguments, runs),
            "edits": len(trial.semantics),
            "inversion": inversion.model_dump(mode="json"),
            "weights": {name: getattr(router, name) for name in SHARED},
            "means": {name: trial.mean(name) for name in VARIANTS},
            "differences": differences,
        },
    )
    for name in VARIANTS:
        edited, kept, error = (trial.mean(name)[measure] for measure in MEASURES)
        print(
            f"{name:18} success {edited['mean']:.2f}, others unchanged {kept['mean']:.2f}, distance to truth {error['mean']:.1f}"
        )
    for name, value in differences.items():
        parts = (f"{m} {value[m]['mean']:+.3f} [{value[m]['low']:+.3f}, {value[m]['high']:+.3f}]" for m in MEASURES)
        print(f"{name}: {', '.join(parts)}")
    print(f"{folder / 'routing.json'}  {folder / 'routing.png'}")
    return 0
