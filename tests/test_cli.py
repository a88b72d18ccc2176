"""The commands beside a running service, as people and programs use them: each a process."""

import asyncio
import json
import os
import pty
import re
import signal
import stat
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from typer import BadParameter

from audiosocket_agent import __version__
from audiosocket_agent.cli import lab, text
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from audiosocket_agent.lab.simulator import Use
from tests.ami.manager import SECRET, Manager
from tests.commands import ANSI, Done, run, started
from tests.profiles import DESK, QUIET
from tests.serving import EXAMPLE, HOST, PATIENCE_SECONDS, Service, serving

CALL: Final = uuid.UUID("0b6f7c1e-3b1a-4d53-8f3e-9a1e6f0a0001")


def where(service: Service) -> dict[str, str]:
    """The setting that leads to it."""
    return {"CONTROL_SOCKET": str(service.control)}


async def ask(service: Service, *arguments: str) -> Done:
    """Run a command that asks the service."""
    return await run(*arguments, "--config", str(EXAMPLE), **where(service))


def exists(path: Path) -> bool:
    return os.path.lexists(path)


@pytest.fixture
def nowhere() -> Iterator[dict[str, str]]:
    """The settings of a host where no service runs."""
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        yield {"CONTROL_SOCKET": f"{directory}/control.sock", "STATE_DIRECTORY": directory}


# -- status --------------------------------------------------------------------------------------


async def test_status_is_for_people_and_for_programs() -> None:
    async with serving(**DESK, MAX_CALLS="1") as service:
        status = (await ask(service, "status", "--json")).json
        assert status["version"] == __version__
        assert (status["model"], status["ready"]) == ("echo", True)
        assert {"desk", "quiet", "receptionist"} <= set(status["agents"])
        assert status["ports"]["audiosocket"] == service.port
        assert status["ports"]["metrics"] == service.metrics_port

        async with Call.connect(HOST, service.port) as call:
            await call.passes(0.1)
            said = await ask(service, "status")
        assert said.code == 0
        head, *lines = said.out.splitlines()
        assert re.fullmatch(
            rf"audiosocket-agent {__version__}, process {status['pid']}, up 0:\d\d", head
        )
        assert "ready   no: full" in lines
        assert "calls   1 of 1" in lines
        assert f"agents  {', '.join(status['agents'])}" in lines
        assert f"ports   audiosocket {service.port}, fastagi " in said.out


async def test_a_draining_service_says_so_until_it_has_ended() -> None:
    async with serving(**QUIET) as service, Call.connect(HOST, service.port) as call:
        service.signal(signal.SIGTERM)
        await service.logged("draining")
        assert "ready   no: draining" in (await ask(service, "status")).out.splitlines()
        call.hang_up()
        assert await service.exit_code() == 0
        assert not exists(service.control)
        assert (await ask(service, "status")).code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("calls", "list"),
        ("calls", "list", "--watch"),
        ("calls", "show", "abcd"),
        ("calls", "hangup", "abcd"),
        ("calls", "transfer", "abcd", "sales"),
    ],
)
async def test_where_no_service_runs_is_one_line_and_exit_1(
    nowhere: dict[str, str], arguments: tuple[str, ...]
) -> None:
    done = await run(*arguments, "--config", str(EXAMPLE), **nowhere)
    assert (done.code, done.out) == (1, "")
    [line] = done.err.splitlines()
    assert line.startswith(f"no service is running here: there is no {nowhere['CONTROL_SOCKET']}; ")


async def test_a_command_finds_the_service_that_systemd_runs() -> None:
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        systemd = {"CONTROL_SOCKET": "", "RUNTIME_DIRECTORY": directory}
        async with serving(**systemd) as service:
            control = Path(directory, "control.sock")
            assert (await service.logged("ready"))["control"] == str(control)
            assert stat.S_IMODE(os.stat(control).st_mode) == 0o600
            assert (await run("status", "--config", str(EXAMPLE), **systemd)).code == 0


COLUMNS: Final = ["call", "agent", "state", "time", "caller", "turns", "response"]

# -- calls ---------------------------------------------------------------------------------------


async def test_a_call_is_listed_shown_and_ended() -> None:
    async with serving(**QUIET) as service:
        assert (await ask(service, "calls", "list")).out == "no calls\n"
        assert (await ask(service, "calls", "list", "--json")).json == []
        async with Call.connect(HOST, service.port, uuid=CALL) as call:
            await call.passes(0.1)
            [listed] = (await ask(service, "calls", "list", "--json")).json
            assert (listed["id"], listed["state"]) == (str(CALL), "listening")
            head, line = (await ask(service, "calls", "list")).out.splitlines()
            assert head.split() == COLUMNS
            assert re.fullmatch(r"0b6f7c1e +quiet +listening +0:\d\d +0", line)
            assert line.index("quiet") == head.index("agent")

            assert (await ask(service, "calls", "show", "0b6f", "--json")).json["peer"] == HOST
            shown = (await ask(service, "calls", "show", "0b6f")).out.splitlines()
            assert [f"id           {CALL}", "agent        quiet"] == shown[:2]

            done = await ask(service, "calls", "hangup", "0b6f")
            assert (done.code, done.out) == (0, f"ending {CALL}\n")
            assert await call.ended() is End.FINISHED
        assert (await service.logged("call ended"))["outcome"] == "operator_hangup"


async def test_a_call_is_passed_on() -> None:
    async with serving(**DESK) as service:
        async with Call.connect(HOST, service.port, uuid=CALL) as call:
            await call.passes(0.1)
            done = await ask(service, "calls", "transfer", "0b6f", "nobody")
            assert (done.code, done.out) == (1, "")
            assert done.err.startswith("there is no target 'nobody' in this call; there are: ")
            assert "expert, faults, sales\n" in done.err
            done = await ask(service, "calls", "transfer", "0b6f", "sales", "--json")
            assert done.json == {"id": str(CALL), "target": "sales"}
            assert await call.ended() is End.FINISHED


MISTAKES: Final = [
    (("calls", "hangup", "abcd"), 1, "no call 'abcd' is up\n"),
    (("calls", "hangup"), 2, "Missing argument 'CALL'"),
    (("calls", "list", "--interval", "0"), 2, "Invalid value for '--interval'"),
    (("calls", "dial"), 2, "No such command 'dial'"),
    (("status", "all"), 2, "unexpected extra argument"),
]


async def test_mistakes_are_told_and_have_their_exit_codes() -> None:
    async with serving() as service:
        for arguments, code, said in MISTAKES:
            done = await ask(service, *arguments)
            assert (done.code, done.out) == (code, ""), arguments
            assert said in done.err


async def test_a_bad_setting_is_exit_3(nowhere: dict[str, str]) -> None:
    done = await run("status", "--config", "/nowhere.toml", **nowhere)
    assert (done.code, done.out, done.err) == (3, "", "/nowhere.toml: no such file\n")


def test_what_a_caller_calls_themselves_moves_no_cursor() -> None:
    seen = {"id": str(CALL), "agent": "quiet", "briefing": True, "state": "held", "seconds": 3725.9}
    call = {**seen, "caller": "\x1b[2J\u202e" + "5" * 99, "turns": 3, "response_s": 0.814}
    assert text.calls({"calls": [call]}).splitlines()[1] == (
        "0b6f7c1e  quiet (briefing)  held   1:02:05  ?[2J?" + "5" * 34 + "…  3      0.81 s"
    )
    shown = text.call({**call, "variables": {"ORDER": "a\nb"}, "extension": "", "peer": None})
    assert shown.splitlines() == [
        f"id          {CALL}",
        "agent       quiet",
        "briefing    yes",
        "state       held",
        "seconds     3725.9",
        "caller      ?[2J?" + "5" * 99,
        "turns       3",
        "response_s  0.814",
        "variables   ORDER=a?b",
    ]


# -- calls list --watch --------------------------------------------------------------------------

WATCH: Final = ("calls", "list", "--watch", "--interval", "0.1", "--config", str(EXAMPLE))


async def test_a_program_that_watches_gets_a_line_a_look_and_ends_by_ctrl_c() -> None:
    async with serving(**QUIET) as service:
        async with started(*WATCH, "--json", settings=where(service)) as watch:
            assert watch.stdout is not None
            assert json.loads(await watch.stdout.readline()) == []
            async with (
                Call.connect(HOST, service.port, uuid=CALL),
                asyncio.timeout(PATIENCE_SECONDS),
            ):
                while not (calls := json.loads(await watch.stdout.readline())):
                    pass
            assert calls[0]["id"] == str(CALL)
            watch.send_signal(signal.SIGINT)
            _, err = await watch.communicate()
            assert (watch.returncode, err) == (0, b"")


async def test_who_watches_is_told_that_the_service_has_gone() -> None:
    async with serving(**QUIET) as service:
        async with started(*WATCH, settings=where(service)) as watch:
            assert watch.stdout is not None
            assert await watch.stdout.readline() == b"no calls\n"
            service.signal(signal.SIGTERM)
            _, err = await watch.communicate()
            assert watch.returncode == 1
            assert err.decode().startswith("the service has gone: no service is running here: ")
            assert err.count(b"\n") == 1


async def test_on_a_terminal_the_list_is_renewed_in_place() -> None:
    screen, terminal = pty.openpty()
    os.set_blocking(screen, False)
    written = ""
    try:
        async with serving(**QUIET) as service, Call.connect(HOST, service.port, uuid=CALL):
            settings = {"TERM": "xterm", **where(service)}
            async with started(*WATCH, settings=settings, terminal=terminal) as watch:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while written.count("0b6f7c1e") < 3:
                        written += await read(screen)
                    watch.send_signal(signal.SIGINT)
                    while CURSOR_BACK not in written:
                        written += await read(screen)
                    assert await watch.wait() == 0
            written += await read(screen)
    finally:
        os.close(screen)
        os.close(terminal)
    assert UP_A_LINE in written
    assert written.endswith(CURSOR_BACK)  # and not a word more


CURSOR_BACK: Final = f"{ANSI}[?25h"
UP_A_LINE: Final = f"{ANSI}[1A"


async def read(screen: int) -> str:
    """What is on it by now."""
    await asyncio.sleep(0.02)
    try:
        return os.read(screen, 65536).decode()
    except BlockingIOError:
        return ""


# -- the socket of a process ---------------------------------------------------------------------


async def test_a_service_that_was_killed_leaves_nothing_in_the_way_of_the_next() -> None:
    with tempfile.TemporaryDirectory(prefix="agent-") as directory:
        here = {"CONTROL_SOCKET": f"{directory}/control.sock"}
        async with serving(**here) as killed:
            killed.signal(signal.SIGKILL)
            await killed.exit_code()
        assert exists(Path(here["CONTROL_SOCKET"]))
        async with serving(**here):
            assert (await run("status", "--config", str(EXAMPLE), **here)).code == 0


async def test_a_second_service_does_not_start_and_says_why() -> None:
    async with serving() as service:
        done = await ask(service, "serve")
        assert (done.code, done.out) == (1, "")
        assert done.err.splitlines() == [
            f"CONTROL_SOCKET {service.control} is in use: is another audiosocket-agent running? Stop "
            "it, or set CONTROL_SOCKET to another path"
        ]
        assert (await ask(service, "status")).code == 0


# -- the PBX -------------------------------------------------------------------------------------


async def test_the_dialplan_is_printed_for_an_agent_and_its_targets(
    nowhere: dict[str, str],
) -> None:
    config = ("--config", str(EXAMPLE))
    printed = await run("dialplan", *config, **nowhere, **DESK, AUDIOSOCKET_PORT="9092")
    assert printed.code == 0
    assert "AGENT_ADDRESS=127.0.0.1:9092" in printed.out
    assert "Gosub(agent,s,1(desk))" in printed.out
    assert "exten => 2003,1," in printed.out

    printed = await run(
        *("dialplan", "--agent", "receptionist", "--one-line"), *config, **nowhere, **DESK
    )
    assert "/run?agent=receptionist)" in printed.out

    refused = await run("dialplan", "--agent", "desc", *config, **nowhere, **DESK)
    assert (refused.code, refused.out) == (2, "")
    assert "there is no agent 'desc'" in refused.err


async def test_the_doctor_finds_what_is_wrong(nowhere: dict[str, str]) -> None:
    host = {**nowhere, "ASTERISK_COMMAND": "/nowhere/asterisk"}
    done = await run("doctor", "--json", "--config", str(EXAMPLE), **host)
    assert done.code == 1
    assert [found["name"] for found in done.json if found["state"] == "failed"] == ["asterisk"]
    done = await run("doctor", "--config", str(EXAMPLE), **host, DEFAULT_AGENT="nobody")
    assert done.code == 3
    assert "FAIL  agents" in done.out


async def test_a_bound_on_cost_needs_prices(nowhere: dict[str, str]) -> None:
    bounded = {**nowhere, "COST_USD_PER_DAY": "5", "GEMINI_API_KEY": "k"}
    for command in (("config", "check"), ("agents", "check"), ("serve",)):
        done = await run(*command, "--config", str(EXAMPLE), **bounded, GEMINI_LIVE_MODEL="house-1")
        assert done.code == 3
        [line] = done.err.splitlines()
        assert line.startswith("COST_USD_PER_DAY: house-1 has no prices")
    done = await run("doctor", "--config", str(EXAMPLE), **bounded, GEMINI_SECOND_MODEL="house-2")
    assert done.code == 3
    assert "FAIL  agents" in done.out
    assert "COST_USD_PER_DAY: house-2 has no prices" in done.out
    assert (await run("config", "check", "--config", str(EXAMPLE), **bounded)).code == 0


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ({"DATABASE_URL": "mysql://u:p@db/calls"}, "DATABASE_URL should be sqlite:///"),
        ({"RECORDS_PRICES": "/nowhere.toml"}, "/nowhere.toml: cannot be read: "),
        ({"SMS_URL": "https://[sms/Messages.json"}, "SMS_URL should be https://HOST/"),
    ],
)
async def test_what_the_service_would_not_start_with_is_told_beforehand(
    nowhere: dict[str, str], settings: dict[str, str], mistake: str
) -> None:
    for command in (("config", "check"), ("serve",)):
        done = await run(*command, "--config", str(EXAMPLE), **nowhere, **settings)
        assert (done.code, done.out) == (3, "")
        [line] = done.err.splitlines()
        assert line.startswith(mistake)


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with Manager().running() as manager:
        yield manager


@pytest.fixture
def pbx(manager: Manager) -> dict[str, str]:
    """The settings of a host with an Asterisk."""
    return {"AMI_PORT": str(manager.port), "AMI_SECRET": SECRET, "OUTBOUND_ALLOW": r"\d{3}"}


async def dial(service: Service, *arguments: str, **settings: str) -> Done:
    return await run("dial", *arguments, "--config", str(EXAMPLE), **where(service), **settings)


async def test_a_number_is_dialled_and_the_agent_is_ready_for_who_answers(
    manager: Manager, pbx: dict[str, str]
) -> None:
    async with serving(**DESK) as service:
        done = await dial(
            service, "100", "--agent", "desk", "--var", "ORDER=47=11", "--json", **pbx
        )
        assert done.code == 0
        assert done.json["outcome"] == "answered"
        [order] = manager.originates
        assert f"AGENT_ADDRESS={HOST}:{service.port}" in order.every("Variable")
        assert f"AGENT_UUID={done.json['id']}" in order.every("Variable")

        shown = (await ask(service, "calls", "show", done.json["id"], "--json")).json
        assert (shown["agent"], shown["caller"], shown["state"]) == ("desk", "100", "ringing")
        assert shown["variables"] == {"ORDER": "47=11"}
        async with Call.connect(HOST, service.port, uuid=uuid.UUID(done.json["id"])) as call:
            await call.agent_speaks()


async def test_one_of_several_services_names_its_own_fastagi_too(
    manager: Manager, pbx: dict[str, str]
) -> None:
    async with serving(**DESK) as service:
        done = await dial(service, "100", INSTANCE="2", FASTAGI_PORT="4573", **pbx)
        assert done.code == 0
        [order] = manager.originates
        assert f"AGENT_FASTAGI_FIRST={HOST}:4575" in order.every("Variable")


async def test_a_number_that_is_not_reached_is_let_go(
    manager: Manager, pbx: dict[str, str]
) -> None:
    async with serving(**DESK) as service:
        done = await dial(service, "200", **pbx)
        assert (done.code, done.out) == (4, "")
        assert done.err.splitlines()[-1] == "busy"
        assert (await service.logged("call ended"))["outcome"] == "abandoned"
        assert len(manager.originates) == 1


NOT_DIALLED: Final[list[tuple[tuple[str, ...], dict[str, str], int, str]]] = [
    (("0900123",), {}, 2, "0900123 may not be dialled"),
    (("100", "--var", "ORDER"), {}, 2, "is not KEY=VALUE"),
    (("100", "--var", "order=1"), {}, 2, "the key in capitals"),
    (("100", "--agent", "nobody"), {}, 1, "nothing was dialled: there is no agent 'nobody'"),
    (("100",), {"AMI_SECRET": "wrong"}, 1, "nothing was dialled: AMI login as"),
    (("100",), {"AMI_SECRET": ""}, 3, "AMI_SECRET is not set"),
    (("100",), {"AMI_PORT": "1"}, 1, "nothing was dialled: "),
    (("100",), {"AMI_HOST": "nowhere.invalid"}, 1, "nothing was dialled: "),
    (("100",), {"OUTBOUND_CALLER_ID": "me\nmyself"}, 1, "nothing was dialled: 'CallerID'"),
]


async def test_what_is_not_dialled_is_told_with_its_exit_code(
    manager: Manager, pbx: dict[str, str]
) -> None:
    async with serving() as service:
        for arguments, settings, code, said in NOT_DIALLED:
            done = await dial(service, *arguments, **{**pbx, **settings})
            assert (done.code, done.out) == (code, ""), done.err
            assert said in done.err
            assert "Traceback" not in done.err
        assert manager.originates == []
        assert (await ask(service, "calls", "list", "--json")).json == []


async def test_nothing_is_dialled_where_no_service_runs(
    nowhere: dict[str, str], manager: Manager, pbx: dict[str, str]
) -> None:
    done = await run("dial", "100", "--config", str(EXAMPLE), **nowhere, **pbx)
    assert done.code == 1
    assert "nothing was dialled: no service is running here" in done.err
    assert manager.originates == []


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_hangs_up_the_phone_that_rings(
    manager: Manager, pbx: dict[str, str], by: signal.Signals
) -> None:
    async with serving(**QUIET) as service:
        settings = {**where(service), **pbx}
        dialling = started("dial", "300", "--config", str(EXAMPLE), settings=settings)
        async with dialling as process, asyncio.timeout(PATIENCE_SECONDS):
            assert process.stderr is not None
            while await process.stderr.readline() != b"ringing\n":
                pass
            process.send_signal(by)
            _, err = await process.communicate()
            assert (process.returncode, err) == (130, b"")
        assert len(manager.asked("Hangup")) == 1
        assert (await service.logged("call ended"))["outcome"] == "abandoned"


# -- starting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["version", "status", "calls"])
async def test_a_command_does_not_wait_for_what_it_does_not_need(command: str) -> None:
    code = (
        "import sys; sys.argv = ['x', sys.argv[1], '--help']\n"
        "from audiosocket_agent.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'google', 'uvloop', 'prometheus_client', 'websockets', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, command),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert err.decode().splitlines() == ["[]"]


async def test_a_simulator_that_cannot_keep_its_certificate_says_where(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = await run("simulate", "--certificates", str(file / "here"))
    assert done.code == 1
    assert done.err == f"{file}/here cannot be used (Not a directory)\n"


def test_the_simulator_is_told_which_tool_to_use() -> None:
    exchange = lab.used('order_status={"order": "471100"}')
    assert exchange.steps[0] == Use("order_status", {"order": "471100"})
    assert lab.used("weather").steps[0] == Use("weather", {})
    for wrong in ("weather=", "weather={", "weather=[]"):
        with pytest.raises(BadParameter, match=f"--use '{re.escape(wrong)}' is not TOOL={{JSON}}"):
            lab.used(wrong)


async def test_who_answers_is_listed_and_checked(tmp_path: Path) -> None:
    listed = await run("agents", "list", "--config", str(EXAMPLE), **DESK)
    assert "* desk                     sales, faults, expert, away" in listed.out.splitlines()
    as_json = await run("agents", "list", "--json", "--config", str(EXAMPLE), **DESK)
    [desk] = [agent for agent in json.loads(as_json.out) if agent["default"]]
    assert desk["targets"]["expert"] == "2003"
    assert desk["keys"] == {"0": "transfer", "9": "hangup", "*": "repeat"}
    checked = await run("agents", "check", "--config", str(EXAMPLE), **DESK)
    assert (checked.code, checked.out) == (
        0,
        "ok: hinglish, npcl, receptionist, desk, quiet, taped\n",
    )
    (tmp_path / "sales.toml").write_text(
        'instructions = "Be brief."\ntools = ["end_call", "tests.agents.own_tools:refund"]\n'
        '[webhooks.stock]\ndescription = "Look."\nurl = "http://localhost:8080/stock"\n'
        '[mcp.crm]\ncommand = ["crm-mcp"]\ntools = ["find-customer"]\n'
    )
    own = {"AGENTS_DIRECTORY": str(tmp_path)}
    as_json = await run("agents", "list", "--json", "--config", str(EXAMPLE), **own)
    [sales] = [agent for agent in json.loads(as_json.out) if agent["name"] == "sales"]
    kinds = ("tools", "webhooks", "functions", "mcp")
    assert [sales[kind] for kind in kinds] == [
        ["end_call"],
        ["stock"],
        ["refund"],
        {"crm": ["crm_find_customer"]},
    ]
    (tmp_path / "sales.toml").write_text('instructions = "Be brief."\ngreting = ""\n')
    wrong = await run("agents", "check", "--config", str(EXAMPLE), AGENTS_DIRECTORY=str(tmp_path))
    assert wrong.code == 3
    assert wrong.err == (f"{tmp_path}/sales.toml:2: greting: unknown key; did you mean greeting?\n")
