"""Agents' files: what a good one makes, and what is said about every kind of mistake."""

import os
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from audiosocket_agent.agents import profile
from audiosocket_agent.agents.profile import GREETING, Profile, load
from audiosocket_agent.call.keys import DIGITS, Key, KeyAction
from audiosocket_agent.call.next_step import Target
from tests.agents.files import SHIPPED, agent, mistakes, mistakes_in, write

SALES = '''\
instructions = """
You sell.
"""
greeting = ""
sees = ["caller", "caller_name", "extension", "ORDER"]
tools = ["transfer_call", "end_call"]

[targets.desk]
extension = "2001"

[targets.on-call]
extension = "Front_desk.2#*"
description = "whoever is on call"
mode = "attended"

[dtmf]
0 = "transfer on-call"
9 = "hangup"
"*" = "repeat"
"#" = "nothing"
D = "transfer desk"
'''


# -- good files ------------------------------------------------------------------------------------


def test_a_file_is_an_agent(agents: Path) -> None:
    write(agents, SALES)
    assert load(agents)["sales"] == Profile(
        name="sales",
        instructions="You sell.",
        greeting="",
        sees=("caller", "caller_name", "extension", "ORDER"),
        tools=("transfer_call", "end_call"),
        targets=(
            Target("desk", "2001", "desk", attended=False),
            Target("on-call", "Front_desk.2#*", "whoever is on call", attended=True),
        ),
        keys={
            "0": Key(KeyAction.TRANSFER, "on-call"),
            "9": Key(KeyAction.HANGUP),
            "*": Key(KeyAction.REPEAT),
            "#": Key(KeyAction.NOTHING),
            "D": Key(KeyAction.TRANSFER, "desk"),
        },
    )


def test_all_but_the_instructions_may_be_left_out(agents: Path) -> None:
    assert agent(agents, "") == Profile(
        name="sales",
        instructions="You sell.",
        greeting=GREETING,
        sees=(),
        tools=("end_call", "collect_digits"),
        targets=(),
        keys={},
    )


def test_where_there_are_targets_callers_can_be_transferred(agents: Path) -> None:
    targets = "[targets]\ndesk = { extension = '2001' }\n"
    assert agent(agents, targets).tools == ("end_call", "transfer_call", "collect_digits")
    assert agent(agents, f"tools = []\n{targets}").tools == ()


def test_what_is_named_twice_counts_once(agents: Path) -> None:
    text = "tools = ['end_call', 'end_call']\nsees = ['ORDER', 'caller', 'ORDER']"
    assert agent(agents, text).tools == ("end_call",)
    assert agent(agents, text).sees == ("ORDER", "caller")


def test_every_key_of_a_telephone_may_have_a_meaning(agents: Path) -> None:
    lines = [f'"{digit}" = "nothing"\n' for digit in DIGITS]
    assert "".join(agent(agents, "[dtmf]\n" + "".join(lines)).keys) == DIGITS


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_instructions_may_be_a_file_beside(agents: Path, mark: str, end: str) -> None:
    """Written with whatever editor."""
    texts = agents / "texts"
    texts.mkdir()
    (texts / "sales.txt").write_bytes(f"{mark}{end}Du bist Anja.{end}Sei nett.{end}".encode())
    (agents / "sales.toml").write_bytes(
        f"{mark}greeting = ''{end}instructions_file = 'texts/sales.txt'{end}".encode()
    )
    assert load(agents)["sales"].instructions == f"Du bist Anja.{end}Sei nett."


def test_instructions_are_as_long_as_64_kib(agents: Path) -> None:
    (agents / "long.txt").write_text("é" * 32 * 1024)
    write(agents, "instructions_file = 'long.txt'")
    write(agents, f"instructions = '{'é' * 32 * 1024}'", "here")
    assert {len(agent.instructions) for agent in load(agents).values()} >= {32 * 1024}
    (agents / "long.txt").write_text("é" * 32 * 1024 + "!")
    write(agents, f"instructions = '{'é' * 32 * 1024}!'", "here")
    assert mistakes(agents) == [
        "here.toml:1: instructions: has more than 64 KiB",
        "sales.toml:1: instructions_file: long.txt: has more than 64 KiB",
    ]


def test_what_a_file_says_of_the_rest(agents: Path) -> None:
    text = "timezone = 'Asia/Kolkata'\nmodel = {voice = 'Kore', temperature = 1}\nmemory.days = 30"
    sales = agent(agents, text)
    assert sales.timezone == ZoneInfo("Asia/Kolkata")
    assert (sales.voice, sales.temperature, sales.memory_days) == ("Kore", 1, 30)
    silent = agent(agents, "[model]")
    assert (silent.timezone, silent.voice, silent.temperature) == (None, None, None)


# -- which files -----------------------------------------------------------------------------------


def test_a_file_of_ones_own_replaces_the_shipped_one_as_a_whole(agents: Path) -> None:
    write(agents, SALES)
    write(agents, "instructions = 'Be curt.'\ntools = []", "receptionist")
    agents_now = load(agents)
    assert list(agents_now) == [*SHIPPED, "sales"]
    assert agents_now["receptionist"].instructions == "Be curt."
    assert agents_now["receptionist"].tools == ()


def test_only_what_a_shell_calls_star_dot_toml_is_read(agents: Path) -> None:
    write(agents, SALES)
    for name in (".#sales.toml", "._sales.toml", ".toml", "sales.toml~", "sales.TOML", "toml"):
        (agents / name).write_bytes(b"\xff")
    assert list(load(agents)) == [*SHIPPED, "sales"]


def test_a_link_is_as_good_as_a_file(agents: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("instructions_file = 'sales.txt'")
    (agents / "sales.toml").symlink_to(tmp_path / "elsewhere")
    (agents / "sales.txt").write_text("You sell.")  # beside the link, not beside the file
    assert load(agents)["sales"].instructions == "You sell."


@pytest.mark.parametrize("name", ["a" * 64, "0", "sales_2-b"])
def test_names(agents: Path, name: str) -> None:
    write(agents, SALES, name)
    assert load(agents)[name].name == name


@pytest.mark.parametrize("name", ["a" * 65, "Sales", "-sales", "_sales", "sales team", "sales.old"])
def test_other_names_are_none(agents: Path, name: str) -> None:
    write(agents, f"{SALES}E = 'repeat'", name)
    assert mistakes(agents) == [
        f"{name}.toml: the file's name is the agent's: 1 to 64 of a-z, 0-9, _ and -, the first a "
        "letter or a digit",
        f"{name}.toml:22: dtmf.E: is no key of a telephone: 0-9, *, # and A-D are",
    ]


def test_a_name_that_would_be_two_lines_is_shown_on_one(agents: Path) -> None:
    write(agents, SALES, "sales\nteam")
    (agents / os.fsdecode(b"\xff.toml")).write_text(SALES)
    first, second = mistakes(agents)
    assert first.startswith('"sales\\nteam.toml": the file\'s name')
    assert second.startswith('"\\udcff.toml": the file\'s name')


def test_a_directory_of_other_things_is_not_read(agents: Path) -> None:
    for number in range(profile.MAX_AGENTS):
        write(agents, "instructions = 'Be brief.'", str(number))
    assert len(load(agents)) == profile.MAX_AGENTS + len(SHIPPED)
    write(agents, "", "one-more")
    assert mistakes(agents) == [f"{agents}: 257 agents; 256 are the most"]


def test_a_directory_that_is_none_is_a_mistake(agents: Path) -> None:
    path = write(agents, SALES)
    assert mistakes(path) == [f"{path}: cannot be read: Not a directory"]


# -- files that cannot be read ---------------------------------------------------------------------


def test_what_cannot_be_read_is_one_line(agents: Path) -> None:
    (agents / "a.toml").symlink_to("nowhere")
    (agents / "b.toml").symlink_to("b.toml")
    (agents / "c.toml").mkdir()
    os.mkfifo(agents / "d.toml")
    write(agents, "# " + "x" * 128 * 1024, "e")
    (agents / "f.toml").write_bytes(b"greeting = ''\n# Anja\ninstructions = 'Gr\xfc\xdfe'")
    assert mistakes(agents) == [
        "a.toml: cannot be read: No such file or directory",
        "b.toml: cannot be read: Too many levels of symbolic links",
        "c.toml: is no file",
        "d.toml: is no file",
        "e.toml: has more than 128 KiB",
        "f.toml:3: is not UTF-8",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_one_line(agents: Path) -> None:
    write(agents, SALES).chmod(0)
    assert mistakes(agents) == ["sales.toml: cannot be read: Permission denied"]
    agents.chmod(0)
    assert mistakes(agents) == [f"{agents}: cannot be read: Permission denied"]
    agents.chmod(0o700)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("greeting = 'x'\n\ngreeting = ", "3: Invalid value (at end of document)"),
        ("greeting = 'x'\nmode = warm\n", "2: Invalid value (at line 2, column 8)"),
        ("[dtmf]\n* = 'repeat'", "2: Invalid statement (at line 2, column 1)"),
        (
            "[dtmf]\n1 = 'repeat'\n[dtmf]\n",
            "3: Cannot declare ('dtmf',) twice (at line 3, column 6)",
        ),
    ],
)
def test_what_is_no_toml_has_the_line_that_tomllib_gives(
    agents: Path, toml: str, said: str
) -> None:
    write(agents, toml)
    assert mistakes(agents) == [f"sales.toml:{said}"]


@pytest.mark.parametrize("toml", ["x = " + "[" * 60_000, "x = " + "9" * 60_000])
def test_what_is_too_much_for_tomllib_is_one_line(agents: Path, toml: str) -> None:
    write(agents, toml)
    [said] = mistakes(agents)
    assert said.startswith("sales.toml:1: ")
    assert len(said) < 200


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.txt", "none.txt: cannot be read: No such file or directory"),
        (".", ": is no file"),
        ("/dev/zero", "/dev/zero: is no file"),
        ("latin-1.txt", "latin-1.txt:2: is not UTF-8"),
        ("empty.txt", "is empty"),
    ],
)
def test_instructions_that_cannot_be_read_are_one_line(agents: Path, name: str, said: str) -> None:
    (agents / "latin-1.txt").write_bytes(b"Anja\nGr\xfc\xdfe")
    (agents / "empty.txt").write_text(" \n")
    write(agents, f"greeting = ''\ninstructions_file = '{name}'")
    [line] = mistakes(agents)
    assert line.startswith("sales.toml:2: instructions_file: ")
    assert line.endswith(said)


def test_a_name_that_no_file_can_have_is_one_line(agents: Path) -> None:
    write(agents, 'instructions_file = "a\\u0000b"')
    [said] = mistakes(agents)
    assert said.startswith('sales.toml:1: instructions_file: "a\\u0000b": cannot be read: ')


# -- keys and values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("greting = 'x'", "2: greting: unknown key; did you mean greeting?"),
        ("zzz = 'x'", "2: zzz: unknown key"),
        ("\n[target.a]\nextension = '1'", "3: target: unknown key; did you mean targets?"),
        ('"a\\nb" = 1', '2: "a\\nb": unknown key'),
        (f"{'z' * 80} = 1", f'2: "{"z" * 60}…": unknown key'),
        ("instructions_file = 'x'", "2: instructions_file: there are instructions already"),
        ("greeting = 5", "2: greeting: must be text in quotes, not a number"),
        ("greeting = true", "2: greeting: must be text in quotes, not true or false"),
        ("greeting = 07:30:00", "2: greeting: must be text in quotes, not a date or time"),
        ("sees = 'caller'", "2: sees: must be a list, not text in quotes"),
        ("sees = ['caller', 5]", "2: sees: must be a list of nothing but texts in quotes"),
        (
            "sees = [\n  'order',\n]",
            '2: sees: "order" is none of caller, caller_name, extension, and no variable of the '
            "dialplan in capitals",
        ),
        (
            "sees = ['callername']",
            '2: sees: "callername" is none of caller, caller_name, extension, and no variable of '
            "the dialplan in capitals; did you mean caller_name?",
        ),
        ("tools = 'end_call'", "2: tools: must be a list, not text in quotes"),
        (
            "tools = ['transfer_call']",
            "2: tools: transfer_call needs somebody to transfer to: a [targets.NAME]",
        ),
        ("timezone = 5.5", "2: timezone: must be text in quotes, not a number"),
        (
            "timezone = 'Asia/Calcuta'",
            '2: timezone: "Asia/Calcuta" is no timezone, as Asia/Kolkata is one; did you mean '
            '"Asia/Calcutta"?',
        ),
        *(
            (
                f"timezone = '{name}'",
                f'2: timezone: "{name}" is no timezone, as Asia/Kolkata is one',
            )
            for name in ("", "/etc/passwd", "../../etc", ".")
        ),
        ("model = 'Kore'", "2: model: must be a table, not text in quotes"),
        ("[model]\nvoice = 5", "3: model.voice: must be text in quotes, not a number"),
        (
            "[model]\nvoice = 'a woman'",
            '3: model.voice: "a woman" is no voice\'s name, as Kore is one',
        ),
        ("[model]\ntemperature = 2.1", "3: model.temperature: must be from 0 to 2"),
        ("[model]\ntemperature = nan", "3: model.temperature: must be from 0 to 2"),
        ("[model]\ntemprature = 1", "3: model.temprature: unknown key; did you mean temperature?"),
        ("memory = 30", "2: memory: must be a table, not a number"),
        ("[memory]", "2: memory.days: missing: how long a caller is remembered"),
        ("[memory]\ndays = 0", "3: memory.days: must be from 1 to 3650"),
        ("[memory]\ndays = 1.5", "3: memory.days: must be a whole number"),
        ("[memory]\ndays = 1\nhours = 1", "4: memory.hours: unknown key"),
        ("targets = 'sales'", "2: targets: must be a table, not text in quotes"),
        ("[[targets]]\nx = 1", "2: targets: must be a table, not a list"),
        ("[dtmf]\n1 = 5", "3: dtmf.1: must be text in quotes, not a number"),
        ("[dtmf]\n1.2 = 'repeat'", "3: dtmf.1: must be text in quotes, not a table"),
        ("dtmf.10 = 'repeat'", "2: dtmf.10: is no key of a telephone: 0-9, *, # and A-D are"),
        ("dtmf.a = 'repeat'", "2: dtmf.a: is no key of a telephone: 0-9, *, # and A-D are"),
        ("dtmf.'' = 'repeat'", '2: dtmf."": is no key of a telephone: 0-9, *, # and A-D are'),
        ("dtmf.'*' = 'transfer x'", '2: dtmf."*": there is no target "x"'),
        (
            "[dtmf]\n\n'*' = 'repat'",
            '4: dtmf."*": "repat" is none of transfer NAME, repeat, hangup, nothing; did you mean '
            "repeat?",
        ),
        (
            "[dtmf]\n'#' = 'transfer'",
            '3: dtmf."#": "transfer" is none of transfer NAME, repeat, hangup, nothing; did you '
            'mean "transfer NAME"?',
        ),
        (
            "[dtmf]\n1 = 'accept'",
            '3: dtmf.1: "accept" is none of transfer NAME, repeat, hangup, nothing',
        ),
    ],
)
def test_a_mistake_is_one_line(agents: Path, toml: str, said: str) -> None:
    assert mistakes_in(agents, toml) == [f"sales.toml:{said}"]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("", "1: instructions: missing, and so is instructions_file"),
        ("greeting = ''", "1: instructions: missing, and so is instructions_file"),
        ("\ninstructions = 5", "2: instructions: must be text in quotes, not a number"),
        ("\ninstructions = ' '", "2: instructions: is empty"),
        ("\ninstructions_file = []", "2: instructions_file: must be text in quotes, not a list"),
    ],
)
def test_an_agent_is_told_something(agents: Path, toml: str, said: str) -> None:
    write(agents, toml)
    assert mistakes(agents) == [f"sales.toml:{said}"]


CHARACTERS = "is not 1 to 40 of A-Z, a-z, 0-9, *, #, _, . and -"


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("sales = '2001'", "3: targets.sales: must be a table, not text in quotes"),
        ("[targets.sales]", "4: targets.sales.extension: missing"),
        ("sales = {mode = 'blind'}", "3: targets.sales.extension: missing"),
        (
            "sales.extension = 2001",
            "3: targets.sales.extension: must be text in quotes, not a number",
        ),
        ("sales.extension = ''", f'3: targets.sales.extension: "" {CHARACTERS}'),
        ("sales.extension = '2001&2002'", f'3: targets.sales.extension: "2001&2002" {CHARACTERS}'),
        ("sales.extension = '''1\n'''", f'3: targets.sales.extension: "1\\n" {CHARACTERS}'),
        ("sales.extension = '٢'", f'3: targets.sales.extension: "٢" {CHARACTERS}'),
        (
            f"sales.extension = '{'1' * 99}'",
            f'3: targets.sales.extension: "{"1" * 60}…" {CHARACTERS}',
        ),
        (
            "[targets.sales]\nextension = '1'\nmode = 'warm'",
            '6: targets.sales.mode: "warm" is none of blind, attended',
        ),
        (
            "sales = {extension = '1', mode = ''}",
            '3: targets.sales.mode: "" is none of blind, attended',
        ),
        (
            "[targets.sales]\nextension = '1'\nmode = true",
            "6: targets.sales.mode: must be text in quotes, not true or false",
        ),
        (
            "[targets.sales]\ndescription = ['prices']\nextension = '1'",
            "5: targets.sales.description: must be text in quotes, not a list",
        ),
        (
            "[targets.sales]\nextension = '1'\ndescripton = ''",
            "6: targets.sales.descripton: unknown key; did you mean description?",
        ),
        (
            "[targets.Sales]\nextension = '1'",
            "4: targets.Sales: a target's name is 1 to 32 of a-z, 0-9, _, -, the first a letter",
        ),
        (
            "'sales team'.extension = '1'",
            '3: targets."sales team": a target\'s name is 1 to 32 of a-z, 0-9, _, -, the first a '
            "letter",
        ),
    ],
)
def test_a_mistake_of_a_target_is_one_line(agents: Path, toml: str, said: str) -> None:
    toml = f"[targets]\n{toml}" if not toml.startswith("[") else f"[targets]\n\n{toml}"
    assert mistakes_in(agents, toml) == [f"sales.toml:{said}"]


def test_every_mistake_of_every_file_is_told_from_the_top(agents: Path) -> None:
    write(
        agents,
        '''\
instructions = """
[targets.sales]
mode = "warm"
"""
tool = ["end_call"]

[dtmf]
1 = "transfer sale"
2 = "transfer faults"

[targets.faults]
mode = "attended"

[targets.sales]
extension = "2001"
mode = "warm"
''',
    )
    write(agents, "instructions = 5\n[targets]\n'a\\b' = 1\n", "faults")
    write(agents, SALES, "good")
    write(agents, "instructions = ", "receptionist")
    assert mistakes(agents) == [
        "receptionist.toml:1: Invalid value (at end of document)",
        "faults.toml:1: instructions: must be text in quotes, not a number",
        r"""faults.toml:3: targets."a\\b": a target's name is 1 to 32 of a-z, 0-9, _, -, the first """
        "a letter",
        r'faults.toml:3: targets."a\\b": must be a table, not a number',
        "sales.toml:5: tool: unknown key; did you mean tools?",
        'sales.toml:8: dtmf.1: there is no target "sale"; did you mean sales?',
        "sales.toml:11: targets.faults.extension: missing",
        'sales.toml:16: targets.sales.mode: "warm" is none of blind, attended',
    ]


@pytest.mark.parametrize(
    "toml",
    [
        "api_key = 's3cret'",
        "greeting = ['s3cret']",
        "sees = [['s3cret']]",
        "[dtmf]\nsecret = 's3cret",
        "[targets.sales]\nextension = '1'\npassword = 's3cret'",
        "[targets]\nsales = 's3cret'",
    ],
)
def test_what_stands_in_the_wrong_place_is_not_shown(agents: Path, toml: str) -> None:
    assert "s3cret" not in str(mistakes_in(agents, toml))
