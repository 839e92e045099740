"""Code of plug-ins that misbehave, by kind; each is the whole module of a little distribution."""

import builtins
import itertools
from textwrap import indent

HEAD = """\
from headrouter.plugins.specifications import BackboneSpec, InversionSpec, MethodSpec, Model, Preset, hookimpl
headrouter_api = 1
NAN, INFINITE = float("nan"), float("inf")
class Stop(BaseException): ...
class Mute(Exception):
    def __str__(self): raise RuntimeError("no words")
class Shapeless:
    def __repr__(self): raise RuntimeError("no shape")
"""

GOOD = {
    "register_backbones": "BackboneSpec(%r, 'headrouter.models.backbone:BackboneParameters')",
    "register_inversions": "InversionSpec(%r, 'headrouter_inversions.euler:Euler')",
    "register_methods": "MethodSpec(%r, 'headrouter.methods.head_router.method:NoMethod')",
    "register_models": "Model(%r, 'sd3', 'nobody/nothing')",
    "register_presets": "Preset(%r, ('method', 'headrouter'), 28, {'gamma': 0.1}, 'a table')",
}
"""A sound description by hook, for a name."""

RAISES = (
    "raise RuntimeError('no luck today')", "raise SystemExit(3)", "raise SystemExit('bye')", "raise Stop()",
    "raise GeneratorExit", "raise MemoryError", "raise RecursionError", "raise Mute('x')", "raise StopIteration",
    "raise OSError(28, 'disk is full')", "raise ValueError('\\x1b[31mred\\x00' + 'x' * 10**6)", "1 / 0",
    "raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'why')", "import no_such_module_at_all", "raise Warning('w')",
    "import sys; sys.exit()", "import asyncio; raise asyncio.CancelledError",
    "raise ExceptionGroup('several', [ValueError(1)]) if 'ExceptionGroup' in dir(__builtins__) else ValueError(1)",
)  # fmt: skip
"""Statements that raise, each in another way."""


def hook(name: str, *statements: str, argument: str = "register") -> str:
    """A hook implementation with this body."""
    return f"@hookimpl\ndef {name}({argument}):\n" + indent("\n".join(statements), "    ") + "\n"


def raising_at_import() -> list[str]:
    """Modules that never come to their end."""
    types = [kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
    names = sorted({kind.__name__ for kind in types} - {"KeyboardInterrupt"})
    by_type = [f"raise {name}" for name in names]
    odd = (
        "def (", "x = 1\n  y = 2", "'\\N{no such letter}'", "a = b'\\x'; \x00", "return 5", "from __future__ import braces",
        "raise 5", "assert False, 'no'", "def f(): return f()\nf()", "import sys; sys.modules[__name__] = 5; raise OSError",
        "import " + ".".join("a" * 50), "del __name__, headrouter",
    )  # fmt: skip
    return [*by_type, *(HEAD + raise_ for raise_ in RAISES), *odd]


def raising_at_registration() -> list[str]:
    """Modules whose hook raises after it has registered something sound."""
    return [
        HEAD + hook(name, f"register({sound % 'half'})", raise_) for name, sound in GOOD.items() for raise_ in RAISES
    ]


def naming_twice() -> list[str]:
    """Modules that claim one name twice, in every spelling that counts as one."""
    spellings = [("twice", "twice"), ("a-b", "a_b"), ("a_b", "a-b"), ("a-b_c", "a_b-c"), ("x--y", "x__y"), ("1-", "1_")]
    codes = []
    for (name, sound), (first, second) in itertools.product(GOOD.items(), spellings):
        calls = [f"register({sound % first})", f"register({sound % second})"]
        codes.append(HEAD + hook(name, *calls))
        codes.append(HEAD + hook(name, "for _ in range(2):", f"    register({sound % first})"))
    return codes


WRONG = (
    "None", "5", "1.5", "True", "b'x'", "['a', 5]", "{'a': object()}", "object()", "print", "'a\\nb'", "'\\x1b[31m'", "NAN",
    "-INFINITE", "-1", "Shapeless()", "'\\ud800'", "int", "10**400",
)  # fmt: skip
"""Values that hardly any field may have."""

FIELDS = {
    "register_backbones": (
        "BackboneSpec(**{{'name': 'a', 'target': 'm:C', {field!r}: {value}}})",
        ("name", "target", "aliases", "summary", "provides", "requires", "install_hint", "default_model", "testing"),
    ),
    "register_models": (
        "Model(**{{'name': 'a', 'backbone': 'b', 'source': 'o/r', 'steps': 4, 'area': 64, {field!r}: {value}}})",
        ("name", "backbone", "source", "steps", "guidance", "area", "licence", "word_blocks", "gated", "summary"),
    ),
    "register_presets": (
        "Preset(**{{'name': 'a', 'component': ('method', 'm'), 'reference_steps': 4, 'values': {{}}, 'provenance': 'p', "
        "{field!r}: {value}}})",
        ("name", "component", "reference_steps", "values", "provenance", "summary"),
    ),
}
RIGHT_AFTER_ALL = {("gated", "True"), ("guidance", "5"), ("guidance", "1.5"), ("steps", "5"), ("area", "5")} | {
    ("reference_steps", "5"), ("steps", "10**400"), ("area", "10**400"), ("reference_steps", "10**400"),
}  # fmt: skip


def nonsense_in_fields() -> list[str]:
    """Modules that register a description with one field of another type or out of range."""
    return [
        HEAD + hook(name, f"register({form.format(field=field, value=value)})")
        for name, (form, fields) in FIELDS.items()
        for field, value in itertools.product(fields, WRONG)
        if (field, value) not in RIGHT_AFTER_ALL
    ]


def nonsense_in_hooks() -> list[str]:
    """Modules whose hooks register, return or are something else than they should."""
    codes = [HEAD + hook(name, f"register({value})") for name in GOOD for value in WRONG]
    codes += [HEAD + hook(name, f"return [{sound % 'a'}]") for name, sound in GOOD.items()]
    codes += [HEAD + hook(name, f"yield {sound % 'a'}") for name, sound in GOOD.items()]
    codes += [HEAD + hook(name, "register()") for name in GOOD]
    codes += [HEAD + hook(name, f"register({sound % 'a'}, 1, 2, 3)") for name, sound in GOOD.items()]
    codes += [HEAD + f"def {name}(register): ..." for name in GOOD]  # the mark is forgotten
    codes += [HEAD + f"{name} = hookimpl(lambda colour: None)" for name in GOOD]
    codes += [HEAD + hook(name, "...").replace("register_", "registers_") for name in GOOD]
    codes += [
        HEAD + hook(name, f"class Own(type({sound % 'a'})): ...", "register(Own)") for name, sound in GOOD.items()
    ]
    codes += [HEAD + f"headrouter_api = {value}" for value in ("None", "'1'", "1.0", "2", "[1]", "True", "Shapeless()")]
    return codes


BAD_COMMANDS = (
    "subcommands.add_parser('x', help='100%').set_defaults(run=print)",
    "subcommands.add_parser('x', help='%(nothing)s').set_defaults(run=print)",
    "subcommands.add_parser('x', help=5).set_defaults(run=print)",
    "subcommands.add_parser('x', help=b'x').set_defaults(run=print)",
    "subcommands.add_parser('x', description=5).set_defaults(run=print)",
    "subcommands.add_parser('x', epilog=['a']).set_defaults(run=print)",
    "subcommands.add_parser('x', usage='%d').set_defaults(run=print)",
    "subcommands.add_parser('x')",
    "subcommands.add_parser('x').set_defaults(func=print)",
    "subcommands.add_parser('x').set_defaults(run='text')",
    "subcommands.add_parser('x').set_defaults(run=5)",
    "subcommands.add_parser(5).set_defaults(run=print)",
    "subcommands.add_parser('').set_defaults(run=print)",
    "subcommands.add_parser('-x').set_defaults(run=print)",
    "subcommands.add_parser('a b').set_defaults(run=print)",
    "subcommands.add_parser(None).set_defaults(run=print)",
    "subcommands.add_parser('x\\x1b').set_defaults(run=print)",
    "subcommands.add_parser('edit').set_defaults(run=print)",
    "subcommands.add_parser('x', aliases=['doctor']).set_defaults(run=print)",
    "subcommands.add_parser('x').add_argument('--y', help='50%')",
    "p = subcommands.add_parser('x'); p.set_defaults(run=print); p.add_argument('--y', help='50% of it')",
    "p = subcommands.add_parser('x'); p.set_defaults(run=print); p.add_argument('--y', metavar=('A', 'B'))",
    "p = subcommands.add_parser('x'); p.set_defaults(run=print); p.add_argument('--run')",
    "p = subcommands.add_parser('x'); p.set_defaults(run=print); p.add_argument('--z', dest='run')",
    "p = subcommands.add_parser('x'); p.add_subparsers().add_parser('y').set_defaults(run=print)",
    "p = subcommands.add_parser('x'); p.add_subparsers(required=True).add_parser('y')",
    "p = subcommands.add_parser('x'); p.add_subparsers(required=True).add_parser('y', help='9%').set_defaults(run=print)",
    "p = subcommands.add_parser('x'); p.set_defaults(run=print); p.add_subparsers().add_parser('y').set_defaults(run=1)",
    "subcommands.choices['x'] = 5",
    "subcommands.choices['x'] = None",
    "subcommands.choices[5] = subcommands.add_parser('x')",
    "subcommands.add_parser('x').set_defaults(run=print); return 5",
    "subcommands.add_parser('x').set_defaults(run=print); return subcommands",
    "subcommands.add_parser()",
    "subcommands.add_parser('x', 'y', 'z')",
    "subcommands.add_parser('x', colour='red')",
    "subcommands.add_parser('x', parents=[5])",
    "subcommands.no_such_thing()",
    "yield subcommands.add_parser('x')",
    "p = subcommands.add_parser('x', parents=[subcommands.add_parser('y')])",
    "subcommands._choices_actions.append(5); subcommands.add_parser('x').set_defaults(run=print)",
    "subcommands._choices_actions = None; subcommands.add_parser('x', help='h').set_defaults(run=print)",
    "subcommands.metavar = 5; subcommands.add_parser('x', help='h').set_defaults(run=print)",
)
HARMLESS_COMMANDS = (
    "p = subcommands.add_parser('fine-{number}', prefix_chars='+'); p.set_defaults(run=print); p.add_argument('++x')",
    "p = subcommands.add_parser('fine-{number}', help='50%% of it'); p.set_defaults(run=print); p.add_argument('--debug')",
    "p = subcommands.add_parser('fine-{number}', add_help=False); p.set_defaults(run=print); p.add_argument('--command')",
    "subcommands.choices.clear(); subcommands.add_parser('fine-{number}').set_defaults(run=print)",
    "p = subcommands.add_parser('fine-{number}'); p.add_subparsers(required=True).add_parser('y').set_defaults(run=print)",
    "p = subcommands.add_parser('fine-{number}'); p.set_defaults(run=print); p.add_subparsers().add_parser('y')",
)


def bad_commands() -> list[str]:
    """Modules whose command would break the command line, or could never run."""
    bodies = [*BAD_COMMANDS, *(f"subcommands.add_parser('x').set_defaults(run=print); {raise_}" for raise_ in RAISES)]
    return [HEAD + hook("register_commands", body, argument="subcommands") for body in bodies]


def harmless_commands() -> list[str]:
    """Modules whose command is odd and works all the same; each is called ``fine-`` and its number."""
    bodies = [body.format(number=number) for number, body in enumerate(HARMLESS_COMMANDS)]
    return [HEAD + hook("register_commands", body, argument="subcommands") for body in bodies]


ANSWERS = (
    "5",
    "True",
    "b'sd3'",
    "['sd3']",
    "object()",
    "Shapeless()",
    "print",
    "'no such backbone'",
    "''",
    "'a:b:c'",
    "'x:'",
)


def bad_answers() -> list[str]:
    """Modules that identify every model as something that is no backbone, or raise."""
    bodies = [*(f"return {answer}" for answer in ANSWERS), *RAISES]
    return [HEAD + hook("identify_backbone", body, argument="model_index") for body in bodies]


DAMAGED = (
    ("METADATA", None), ("METADATA", b""), ("METADATA", b"Metadata-Version: 2.1\n"), ("METADATA", b"Version: 1.0\n"),
    ("METADATA", b"Name:\nVersion: 1.0\n"), ("METADATA", b"\xff\xfe\x00"), ("METADATA", b"\x00" * 4096),
    ("METADATA", b"Name: \n\n"), ("METADATA", b"name\nversion\n"), ("METADATA", b"\n\nName: later\n"),
    ("entry_points.txt", b"[headrouter]\n\xff\xfe = x\n"), ("entry_points.txt", b"[headrouter]\nno equals sign\n"),
    ("entry_points.txt", b"[other]\nbroken\n[headrouter]\na = m\n"), ("entry_points.txt", b"[headrouter]\n= m\n"),
    ("entry_points.txt", b"[headrouter]\na =\n"), ("entry_points.txt", b"[headrouter]\na = 1 2 3\n"),
    ("entry_points.txt", b"[headrouter]\na = :::\n"), ("entry_points.txt", b"[headrouter]\na = m:\n"),
    ("entry_points.txt", b"[headrouter]\na = no.such.module\n"), ("entry_points.txt", b"[headrouter]\na = json:loads\n"),
    ("entry_points.txt", b"[headrouter]\na = json:x.y.z\n"), ("entry_points.txt", b"[headrouter]\na = ..json\n"),
    ("entry_points.txt", b"[headrouter]\na = json [x\n"), ("entry_points.txt", b"[headrouter]\n\x1b[31mred = no.such\n"),
)  # fmt: skip
"""A file of the .dist-info folder and what is in it instead; None is nothing."""

UNREADABLE_REQUIREMENTS = (
    'headrouter; sys_platform ~= "linux"', "headrouter >=", "headrouter >= one", "headrouter ; ; ;", "headrouter[",
    "HeadRouter @", 'headrouter; no_such_marker == "1"', 'headrouter>=0.1; python_version ~= ""',
)  # fmt: skip
STRANGE_REQUIREMENTS = (
    'foo; sys_platform ~= "linux"', "foo >= one", "(((", "", 'foo; os_name in "', "@ @ @", "-e .", "headrouter-other >> 3",
    'foo; extra ~= "x"', "https://example.org/x.whl",
)  # fmt: skip
