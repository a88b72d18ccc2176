"""The pack that is shipped, `asterisk/`, as an administrator copies it: Asterisk loads all of it without
a complaint, its numbers do what their comments say, and strangers reach none of them."""

import asyncio
import re
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

import numpy as np
import pytest

from audiosocket_agent.lab.simulator import Behaviour, SessionRecord, Simulator
from audiosocket_agent.lab.simulator import Pcm as Recording
from tests.pbx.asterisk import (
    AMI_SECRET,
    ANSWERED_HUMAN,
    MAILBOX,
    ODDLY_NAMED,
    QUEUE,
    RINGS_HUMAN,
    SHIPPED,
    Asterisk,
    running_asterisk,
)
from tests.pbx.codec import Pcm, resample
from tests.pbx.conftest import StartService
from tests.pbx.ear import align
from tests.pbx.phone import Phone
from tests.pbx.service import Service
from tests.pbx.sip import Caller, CallRefusedError
from tests.pbx.speech import PROMPT_RATE_HZ, prompt

GREETING: Final = "hello-world"  # 1.3 s
REPLY: Final = "tt-weasels"  # 2.7 s
QUESTION: Final = "info-about-last-call"  # 2.0 s
OTHER_QUESTION: Final = "cannot-complete-as-dialed"  # 2.5 s


def model() -> Behaviour:
    """Greets, and answers every question with the same few words."""
    return Behaviour(
        greeting=Recording(prompt(GREETING).tobytes(), PROMPT_RATE_HZ),
        reply=Recording(prompt(REPLY).tobytes(), PROMPT_RATE_HZ),
    )


def heard_by(session: SessionRecord) -> Pcm:
    return np.frombuffer(bytes(session.audio), np.int16)


def hears(ear: Pcm, name: str) -> bool:
    """Whether a prompt was heard to its end."""
    verdict = align(ear, prompt(name), PROMPT_RATE_HZ)
    return verdict.found and verdict.cut_at_s is None


# ---- it loads ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh() -> Iterator[Asterisk]:
    """An Asterisk nobody has called yet."""
    with running_asterisk() as asterisk:
        yield asterisk


def test_nothing_is_complained_of_at_start(fresh: Asterisk) -> None:
    complaints = [line for line in fresh.log().splitlines() if re.search(r"WARNING|ERROR", line)]
    assert complaints == []


async def test_every_module_of_modules_conf_runs(fresh: Asterisk) -> None:
    wanted = re.findall(r"^load = (\S+)", (SHIPPED / "modules.conf").read_text(), re.MULTILINE)
    running = re.findall(r"^(\S+\.so) .* Running ", await fresh.rx("module show"), re.MULTILINE)
    assert len(wanted) > 50
    assert set(wanted) <= set(running)


LOADED: Final = {
    "extensions_audiosocket.conf": ("dialplan show s@agent", "open?uuid="),
    "extensions.conf": ("dialplan show 1000@from-internal", "Gosub(agent,s,1)"),
    "pjsip.conf": ("pjsip show endpoints", "trunk/sip:example-house.sip.example.com"),
    "manager.conf": ("manager show user audiosocket-agent", "write perm: call,reporting,originate"),
    "modules.conf": ("module show like app_audiosocket", "Running"),
    "queues.conf": ("queue show staff", "PJSIP/alice"),
    "voicemail.conf": ("voicemail show users", "default    100"),
    "confbridge.conf": ("confbridge show profile user agent", "END Marked (All):        enabled"),
    "res_parking.conf": ("parking show default", "701-720"),
    "musiconhold.conf": ("moh show files", "/usr/share/asterisk/moh/"),
    "indications.conf": ("indication show us", "440+480/2000"),
}


def test_every_file_is_looked_at() -> None:
    assert LOADED.keys() == {path.name for path in SHIPPED.glob("*.conf")}


@pytest.mark.parametrize("name", LOADED)
async def test_a_file_is_loaded(fresh: Asterisk, name: str) -> None:
    command, shown = LOADED[name]
    assert shown in await fresh.rx(command)


# ---- who gets in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["1000", "2001", "+12025550100", "+442079460000"])
async def test_a_stranger_reaches_nothing(asterisk: Asterisk, extension: str) -> None:
    async with Caller(asterisk.sip_port, host="127.0.2.1") as stranger:
        with pytest.raises(CallRefusedError, match="401"):
            await stranger.dial(extension)


async def test_the_trunk_reaches_our_own_numbers_and_nothing_that_dials_out(
    asterisk: Asterisk,
) -> None:
    assert "agent" in await asterisk.rx("dialplan show +12025550100@from-trunk")
    for other in ("+442079460000@from-trunk", "2020@from-trunk", "+442079460000@agent-targets"):
        assert "There is no existence of" in await asterisk.rx(f"dialplan show {other}")


class Manager:
    """A login to the manager interface, as small as asking needs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, action: str, **fields: str) -> str:
        """The answer's message."""
        lines = [f"Action: {action}", *(f"{name}: {value}" for name, value in fields.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        while "Response" not in (answer := await self._message()):
            pass  # an event
        return answer.get("Message", answer["Response"])

    async def events_until(self, last: str) -> list[str]:
        """Names of events, to the first `last`."""
        names: list[str] = []
        async with asyncio.timeout(5):
            while last not in names:
                names.append((await self._message()).get("Event", ""))
        return [name for name in names if name]

    async def _message(self) -> dict[str, str]:
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        pairs = (line.partition(": ") for line in text.splitlines())
        return {name: value for name, _, value in pairs}


@asynccontextmanager
async def manager(asterisk: Asterisk) -> AsyncIterator[Manager]:
    reader, writer = await asyncio.open_connection("127.0.0.1", asterisk.ami_port)
    try:
        await reader.readline()  # what it is
        logged_in = Manager(reader, writer)
        answer = await logged_in.ask("Login", Username="audiosocket-agent", Secret=AMI_SECRET)
        assert answer == "Authentication accepted"
        yield logged_in
    finally:
        writer.close()
        await writer.wait_closed()


async def test_the_manager_user_may_do_what_it_needs_and_no_more(asterisk: Asterisk) -> None:
    async with manager(asterisk) as ami:
        assert await ami.ask("Ping") == "Success"
        assert await ami.ask("CoreShowChannels") == "Channels will follow"
        assert await ami.ask("Status") == "Channel status will follow"
        assert await ami.ask("Hangup", Channel="none") == "No such channel"
        elsewhere = {"Context": "agent", "Exten": "dialled", "Priority": "1"}
        refused = await ami.ask("Redirect", Channel="none", **elsewhere)
        assert refused == "Channel does not exist: none"
        for action in ("Command", "GetConfig", "DBPut", "PJSIPShowEndpoints", "ModuleLoad"):
            assert await ami.ask(action) == "Permission denied"


async def test_the_manager_user_is_told_of_calls_and_of_nothing_else(asterisk: Asterisk) -> None:
    async with manager(asterisk) as ami:
        ordered = await ami.ask(
            "Originate", Channel="Local/9003@bench", Application="Wait", Data="0.1", Async="true"
        )
        assert ordered == "Originate successfully queued"
        told = await ami.events_until("Hangup")
    assert "OriginateResponse" in told
    assert set(told) <= {"OriginateResponse", "Newstate", "Hangup"}


# ---- numbers without the agent -------------------------------------------------------------------


async def test_1002_is_a_recording_and_an_echo(asterisk: Asterisk) -> None:
    async with Caller(asterisk.sip_port) as caller:
        await caller.dial("1002")
        await caller.until_heard()
        async with asyncio.timeout(10):  # and not until it is quiet: a busy machine pauses, too
            while not hears(caller.heard.pcm, "hello-world"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await caller.until_quiet()
        said = len(caller.heard.pcm)
        await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
        await caller.until_quiet()
        caller.dtmf("#")
        await caller.until_ended(10)
    assert hears(caller.heard.pcm[said:], QUESTION)
    assert hears(caller.heard.pcm[said:], "vm-goodbye")


async def test_the_queue_finds_whoever_is_free(asterisk: Asterisk) -> None:
    async with Caller(asterisk.sip_port) as caller:
        await caller.dial(QUEUE)
        await caller.until_heard()  # music
        async with asyncio.timeout(10):  # bob, who is busy, may be asked first
            passed_on = f"database get passed-on {caller.name}"
            while "Value:" not in await asterisk.rx(passed_on):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await caller.hangup()


async def test_the_mailbox_keeps_what_is_said(asterisk: Asterisk) -> None:
    async with Caller(asterisk.sip_port) as caller:
        await caller.dial(MAILBOX)
        await caller.until_heard()
        caller.dtmf("#")  # enough of the greeting
        await caller.until_quiet(1.0)
        await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
        await caller.hangup()
    inbox = asterisk.home / "voicemail/default/100/INBOX"
    assert hears(await recording(inbox, "msg0000.wav"), QUESTION)


async def test_a_call_is_parked_and_fetched(asterisk: Asterisk) -> None:
    async with Caller(asterisk.sip_port) as parked, Caller(asterisk.sip_port) as other:
        await parked.dial("700")
        await parked.until_heard()  # music
        await other.dial("701")
        await parked.until_quiet()
        await other.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
        await parked.say_all(prompt(REPLY), PROMPT_RATE_HZ)
        await other.until_quiet()
    assert hears(parked.heard.pcm, QUESTION)
    assert hears(other.heard.pcm, REPLY)


def _files(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(pattern))


async def recording(directory: Path, pattern: str) -> Pcm:
    """What is in a file, once Asterisk has done with it."""
    async with asyncio.timeout(5):
        while not (found := _files(directory, pattern)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    with wave.open(str(found[0])) as file:
        assert file.getframerate() == PROMPT_RATE_HZ
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


# ---- a phone that is called ----------------------------------------------------------------------


async def test_a_phone_is_called_and_both_hear_each_other(asterisk: Asterisk) -> None:
    async with (
        Phone("human", asterisk.sip_port) as phone,
        Caller(asterisk.sip_port) as caller,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(caller.dial(RINGS_HUMAN))
        await phone.rings()
        await phone.answer()
        await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
        await phone.say_all(prompt(REPLY), PROMPT_RATE_HZ)
        await phone.until_quiet()
        await caller.until_quiet()
        await phone.hangup()
        await caller.until_ended(5)
    assert caller.ended_by == "asterisk"
    assert phone.ended_by == "phone"
    assert align(phone.heard.pcm, prompt(QUESTION), PROMPT_RATE_HZ).perfect
    assert align(caller.heard.pcm, prompt(REPLY), PROMPT_RATE_HZ).perfect


async def test_a_phone_is_busy_and_then_answers(asterisk: Asterisk) -> None:
    async with Phone("human", asterisk.sip_port) as phone:
        async with Caller(asterisk.sip_port) as caller, asyncio.TaskGroup() as tasks:
            call = tasks.create_task(refused(caller))
            await phone.rings()
            phone.refuse(486)
            assert await call == 486
        async with Caller(asterisk.sip_port) as caller, asyncio.TaskGroup() as tasks:
            tasks.create_task(caller.dial(RINGS_HUMAN))
            await phone.rings()
            await phone.answer()
            await phone.say_all(prompt(GREETING), PROMPT_RATE_HZ)
            await caller.until_quiet()
            await caller.hangup()
            await phone.until_ended(5)
        assert phone.ended_by == "asterisk"
        assert hears(caller.heard.pcm, GREETING)


async def refused(caller: Caller) -> int:
    """Dial the human in vain; the final status."""
    with pytest.raises(CallRefusedError) as refusal:
        await caller.dial(RINGS_HUMAN)
    return refusal.value.status


async def test_a_phone_that_nobody_answers_stops_ringing(asterisk: Asterisk) -> None:
    async with (
        Phone("human", asterisk.sip_port) as phone,
        Caller(asterisk.sip_port) as caller,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(refused(caller))  # after 3 s
        await phone.rings()
        assert phone.rings_since is not None
        rang_s = -phone.rings_since + await phone.stopped_ringing()
        assert rang_s == pytest.approx(3, abs=0.5)


async def test_a_phone_stops_ringing_when_the_caller_leaves(asterisk: Asterisk) -> None:
    async with (
        Phone("human", asterisk.sip_port) as phone,
        Caller(asterisk.sip_port) as caller,
    ):
        await caller.dial(ANSWERED_HUMAN)
        await phone.rings()
        await caller.until_heard()  # the ringing
        await caller.hangup()
        await phone.stopped_ringing()
    assert phone.answered_at is None


async def test_a_phones_keys_arrive(asterisk: Asterisk) -> None:
    async with Phone("human", asterisk.sip_port) as phone, Caller(asterisk.sip_port) as caller:
        await caller.dial(ANSWERED_HUMAN)
        await phone.rings()
        await phone.answer()
        phone.press("5")
        with pytest.raises(TimeoutError):
            await caller.until_ended(0.5)
        phone.press("*")  # Dial()'s h: hangs up
        await caller.until_ended(5)


# ---- numbers with the agent ----------------------------------------------------------------------


async def until_free(service: Service, asterisk: Asterisk) -> None:
    """Wait until nothing is left of any call."""
    async with asyncio.timeout(5):
        while await service.metric("calls_active") or await asterisk.channels():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_1000_is_the_agent(asterisk: Asterisk, service: StartService) -> None:
    async with Simulator(model()) as gemini, service(gemini):
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial("1000")
            await caller.until_heard()
            await caller.until_quiet()
            await caller.hangup()
    assert align(caller.heard.pcm, prompt(GREETING), PROMPT_RATE_HZ).perfect


async def test_1001_is_the_agent_at_16_khz(asterisk: Asterisk, service: StartService) -> None:
    async with Simulator(model()) as gemini, service(gemini):
        async with Caller(asterisk.sip_port, "l16") as caller:
            await caller.dial("1001")
            await caller.until_heard()
            await caller.until_quiet()
            caller.say(prompt(QUESTION), PROMPT_RATE_HZ)
            await caller.until_heard()
            await caller.until_quiet()
            await caller.hangup()
    [session] = gemini.sessions
    assert session.audio_rate_hz == 16_000
    asked = resample(prompt(QUESTION), PROMPT_RATE_HZ, 16_000)
    assert align(heard_by(session), asked, 16_000).perfect
    assert hears(resample(caller.heard.pcm, 16_000, PROMPT_RATE_HZ), REPLY)


async def test_1003_is_a_conference_that_the_agent_is_in(
    asterisk: Asterisk, service: StartService
) -> None:
    async with Simulator(model()) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as asha, Caller(asterisk.sip_port) as ben:
            await asha.dial("1003")
            await asha.until_heard()
            await asha.until_quiet()
            await ben.dial("1003")
            for speaker, question in ((asha, QUESTION), (ben, OTHER_QUESTION)):
                await speaker.say_all(prompt(question), PROMPT_RATE_HZ)
                await speaker.until_heard()  # the agent
                await speaker.until_quiet()
            await asha.hangup()
            assert await agent.metric("calls_active") == 1
            await ben.hangup()
            await until_free(agent, asterisk)
    assert hears(asha.heard.pcm, GREETING)
    assert hears(ben.heard.pcm, QUESTION)
    assert hears(asha.heard.pcm, OTHER_QUESTION)
    assert hears(asha.heard.pcm, REPLY)
    assert hears(ben.heard.pcm, REPLY)
    [session] = gemini.sessions
    assert hears(heard_by(session), QUESTION)
    assert hears(heard_by(session), OTHER_QUESTION)


async def test_1004_is_recorded_on_both_sides(asterisk: Asterisk, service: StartService) -> None:
    async with Simulator(model()) as gemini, service(gemini) as agent:
        async with Caller(asterisk.sip_port) as caller:
            await caller.dial("1004")
            await caller.until_heard()
            await caller.until_quiet()
            await caller.say_all(prompt(QUESTION), PROMPT_RATE_HZ)
            await caller.until_heard()
            await caller.until_quiet()
            await caller.hangup()
        await until_free(agent, asterisk)
    recorded = await recording(asterisk.home / "monitor", "agent-*.wav")
    for name in (GREETING, QUESTION, REPLY):
        assert hears(recorded, name)


async def test_an_agent_may_have_any_name(asterisk: Asterisk) -> None:
    asked: list[str] = []

    async def desk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\n\n")).decode()
        asked.extend(re.findall(r"^agi_network_script: open\?(.*)", head, re.MULTILINE))
        writer.close()

    server = await asyncio.start_server(desk, "127.0.0.1", 0)
    async with server, Caller(asterisk.sip_port) as caller:
        await asterisk.send_agents_to(1, server.sockets[0].getsockname()[1])
        await caller.dial(ODDLY_NAMED)
        await caller.until_ended(5)
    [query] = asked
    assert parse_qs(query)["agent"] == ['Zoë & "Co." = 100%?#']
    assert await asterisk.went_on(caller.name) == "FAILED"
