"""Phrases in an agent's voice: spoken once by the model (the simulator, by the real SDK), then kept."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from audiosocket_agent import phrases
from audiosocket_agent.agents.phrases import Phrases
from audiosocket_agent.agents.profile import Profile
from audiosocket_agent.audio import wav
from audiosocket_agent.lab.simulator import Behaviour, Pcm, Simulator
from audiosocket_agent.ledger import Book
from audiosocket_agent.metrics import PREFIX, Metrics
from audiosocket_agent.model import phrase as speaking
from audiosocket_agent.model.gemini import GeminiModel
from audiosocket_agent.phrases import MAX_TRIES, Phrasebook, spending
from audiosocket_agent.records.costs import Prices
from audiosocket_agent.settings import Gemini
from audiosocket_agent.sounds import Pcm as Sound
from audiosocket_agent.sounds import Sounds, Tones
from tests.house import house
from tests.scripted import tone
from tests.serving import serving

WORDS = "One moment, please."
SORRY = "I am sorry, the line is bad."
VOICE = Behaviour(
    connect_delay_seconds=0.0,
    think_seconds=0.0,
    speed=0,
    greeting=Pcm(bytes(7_200) + tone(0.35) + bytes(7_200), 24_000),  # with silence around it
    greeting_words=WORDS,
)
OTHER_WORDS = replace(VOICE, greeting_words="Hello, how can I help you?")
AWAY = replace(VOICE, faults=frozenset({"http-503"}))
TONE = Tones().filler("")
MOMENT = Sound(tone(0.5, rate_hz=8_000), 8_000)


def sales(filler: str = WORDS, apology: str = "", **more: Any) -> Profile:
    said = Phrases({"": filler}, {"": apology} if apology else {})
    return Profile(name="sales", instructions="Sell.", phrases=said, **more)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes half a minute takes a tenth of a second."""
    monkeypatch.setattr(phrases, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(speaking, "LINGER_S", 0.05)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The directory of the files."""
    return tmp_path / "phrases"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Callable[[Simulator], GeminiModel]:
    def make(simulator: Simulator) -> GeminiModel:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        monkeypatch.setenv("SSL_CERT_FILE", str(simulator.ca_file))
        return GeminiModel(Gemini.model_validate({"api_key": "simulated"}))

    return make


@asynccontextmanager
async def at_work(book: Phrasebook, *agents: Profile, **more: Any) -> AsyncIterator[Sounds]:
    """Have the phrases made, for as long as the block lasts; what callers of the first agent hear."""
    book.serve(agents)
    task = asyncio.create_task(book.run(**more))
    try:
        yield book.sounds(agents[0])
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110 - another side's state, or a thread's
            await asyncio.sleep(0.01)


def has_filler(sounds: Sounds) -> Callable[[], bool]:
    return lambda: sounds.filler("") != TONE


def files(state: Path) -> list[Path]:
    """Whole ones; what is being written is none yet."""
    return [path for path in state.iterdir() if path.suffix == ".wav"]


def in_the_way(state: Path) -> Callable[[], None]:
    """A file where the directory is to be; returns what removes it."""
    state.touch()
    return state.unlink


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"


# -- spoken once, and kept -----------------------------------------------------------------------


async def test_it_is_spoken_once_by_the_agents_voice_and_outlives_the_process(
    model: Any, state: Path
) -> None:
    async with Simulator(VOICE) as simulator:
        book = Phrasebook(model(simulator), "Kore", state)
        async with at_work(book, sales(voice="Puck")) as sounds:
            assert sounds.filler("") == TONE  # nobody waits for it
            await until(has_filler(sounds))
            spoken = sounds.filler("")
            await until(lambda: files(state))  # heard first, written after it
        assert spoken is not None
        assert spoken.rate_hz == 24_000
        assert 0.35 <= spoken.seconds <= 0.45  # of 0.65 s of audio
        [session] = simulator.sessions
        assert "Puck" in str(session.setup)
        assert WORDS in str(session.contents)

        again = Phrasebook(model(simulator), "Kore", state)
        async with at_work(again, sales(voice="Puck")) as sounds:
            await until(has_filler(sounds))
            assert sounds.filler("") == spoken
        assert simulator.session_count == 1
    [file] = files(state)
    assert (mode(file), mode(state)) == ("600", "700")


async def test_agents_with_the_same_words_and_voice_share_it_and_others_do_not(
    model: Any, state: Path
) -> None:
    async with Simulator(VOICE) as simulator:
        book = Phrasebook(model(simulator), "Kore", state)
        other = sales(voice="Puck")
        async with at_work(book, sales(), replace(sales(), name="desk"), other) as sounds:
            await until(has_filler(sounds))
            await until(has_filler(book.sounds(other)))
        assert simulator.session_count == 2


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="half"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"no audio " + content, id="something else"),
        pytest.param(lambda content: wav.encode(bytes(480), 24_000), id="nothing in it"),
    ],
)
async def test_a_broken_file_is_made_anew(
    model: Any, state: Path, broken: Callable[[bytes], bytes]
) -> None:
    async with Simulator(VOICE) as simulator:
        for _ in range(2):
            book = Phrasebook(model(simulator), "Kore", state)
            async with at_work(book, sales()) as sounds:
                await until(has_filler(sounds))
                await until(lambda: files(state))
            [file] = files(state)
            content = file.read_bytes()
            file.write_bytes(broken(content))
        assert simulator.session_count == 2


async def test_new_words_are_spoken_and_the_old_ones_removed(model: Any, state: Path) -> None:
    said = {0: SORRY, 1: WORDS, 2: "Just a second, please."}  # in the order of the alphabet
    behaviour = {n: replace(VOICE, greeting_words=words) for n, words in said.items()}
    async with Simulator(behaviour_for=behaviour.__getitem__) as simulator:
        book = Phrasebook(model(simulator), "Kore", state)
        async with at_work(book, sales(WORDS, SORRY)) as sounds:
            assert sounds.apology("") is None
            await until(lambda: sounds.apology("") and has_filler(sounds)())
            await until(lambda: len(files(state)) == 2)
            before = {*files(state)}
            changed = sales("Just a second, please.", SORRY)
            book.serve([changed])
            await until(has_filler(book.sounds(changed)))
            await until(lambda: len(files(state)) == 2)
            assert len(before & {*files(state)}) == 1  # the apology's
            assert book.sounds(changed).apology("") is not None
        assert simulator.session_count == 3


async def test_what_it_costs_is_counted(model: Any, state: Path) -> None:
    metrics, prices = Metrics(), Prices.load()
    book = Book(model="gemini-3.8-live", prices=prices)
    async with Simulator(VOICE) as simulator:
        spend = spending(book, metrics)
        async with at_work(Phrasebook(model(simulator), "Kore", state, spend), sales()) as sounds:
            await until(has_filler(sounds))

    def counted(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(PREFIX + name, labels) or 0.0

    assert 0 < counted("tokens_total", direction="out", modality="audio") < 500
    assert 0 < counted("cost_usd_total") < 0.01
    assert book.budget._spent.popitem()[1] == pytest.approx(
        Decimal(counted("cost_usd_total")), rel=Decimal("0.001")
    )


# -- what goes wrong -----------------------------------------------------------------------------


async def test_a_voice_that_says_something_else_is_not_kept_and_not_asked_for_ever(
    model: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phrases, "LONGEST_WAIT_S", 0.1)
    voice = [OTHER_WORDS]
    async with Simulator(behaviour_for=lambda _: voice[-1]) as simulator:
        book = Phrasebook(model(simulator), "Kore", state)
        async with at_work(book, sales()) as sounds:
            await until(lambda: book._tries.total() == MAX_TRIES)
            voice.append(VOICE)
            await asyncio.sleep(0.3)  # the next try would be after 0.1 s
            assert simulator.session_count == MAX_TRIES
            assert sounds.filler("") == TONE
            assert not files(state)
            book.serve([sales()])  # the files are read again: another chance
            await until(has_filler(sounds))
        assert simulator.session_count == MAX_TRIES + 1


async def test_a_model_that_is_away_is_asked_later_and_later(model: Any, state: Path) -> None:
    away = 3
    async with Simulator(behaviour_for=lambda n: AWAY if n < away else VOICE) as simulator:
        book = Phrasebook(model(simulator), "Kore", state)
        async with at_work(book, sales(WORDS, WORDS.upper())) as sounds:
            await until(lambda: has_filler(sounds)() and sounds.apology(""))
        arrived = [session.connected for session in simulator.sessions]
    assert len(arrived) == away + 2  # one phrase is enough to learn that it is away
    gaps = [later - sooner for sooner, later in pairwise(arrived)]
    assert all(gap >= 0.1 * 2**n for n, gap in enumerate(gaps[:away]))


async def test_a_disk_that_takes_nothing_costs_nothing_and_ends_nothing(
    model: Any, state: Path
) -> None:
    clear_the_way = in_the_way(state)
    async with Simulator(VOICE) as simulator:
        book = Phrasebook(model(simulator), "Kore", state)
        async with at_work(book, sales()) as sounds:
            await asyncio.sleep(0.2)
            assert sounds.filler("") == TONE
            assert simulator.session_count == 0
            clear_the_way()
            await until(has_filler(sounds))


async def test_without_a_model_there_is_the_tone_and_no_apology(tmp_path: Path) -> None:
    book = Phrasebook(directory=tmp_path)
    book.serve([sales()])
    await book.run()
    assert book.sounds(sales()).filler("hi-IN") == TONE
    assert book.sounds(sales(WORDS, SORRY)).apology("") is None
    assert not files(tmp_path)


# -- languages and files -------------------------------------------------------------------------


async def test_a_caller_hears_their_own_language_or_the_first(model: Any, state: Path) -> None:
    said = Phrases({"en-IN": WORDS, "hi-IN": MOMENT})
    agent = Profile(name="both", instructions="Sell.", phrases=said)
    async with Simulator(VOICE) as simulator:
        book = Phrasebook(model(simulator), "Kore", state)
        assert book.sounds(agent).filler("hi-IN") == MOMENT  # at once: it is a file
        assert book.sounds(agent).filler("en-IN") == TONE  # not a language that was not asked for
        async with at_work(book, agent) as sounds:
            await until(has_filler(sounds))
            assert sounds.filler("bn-IN") == sounds.filler("en-IN") != TONE
        assert "in the language en-IN" in str(simulator.sessions[0].setup)


# -- while there are calls -----------------------------------------------------------------------


async def test_calls_go_on_and_none_is_made_while_no_call_is_taken(model: Any, state: Path) -> None:
    async with Simulator(VOICE) as simulator:
        gemini = model(simulator)
        book = Phrasebook(gemini, "Kore", state)
        async with house(gemini, max_calls=1) as here, here.call() as call:
            await call.agent_speaks()
            async with at_work(book, sales(), refuses=here.server.not_ready) as sounds:
                await call.agent_silent(0.3)
                assert simulator.session_count == 1  # the call's
                assert sounds.filler("") == TONE
                call.hang_up()
                await here.is_empty()
                await until(has_filler(sounds))
            assert call.violations == []


# -- the whole service ---------------------------------------------------------------------------


async def test_the_service_makes_them_after_its_start_and_again_after_sighup(
    tmp_path: Path,
) -> None:
    agents = tmp_path / "agents"
    agents.mkdir()
    for name in ("hinglish", "npcl", "receptionist"):
        (agents / f"{name}.toml").write_text('instructions = "Be brief."')
    desk = agents / "desk.toml"
    desk.write_text(f'instructions = "Be brief."\nphrases.filler = "{WORDS}"')
    said = {1: replace(VOICE, greeting_words="Just a second.")}
    async with Simulator(behaviour_for=lambda n: said.get(n, VOICE)) as simulator:
        settings = {
            "STATE_DIRECTORY": str(tmp_path),
            "AGENTS_DIRECTORY": str(agents),
            "GEMINI_API_KEY": "simulated",
            "GEMINI_TRANSCRIPTION": "false",  # of calls
            "GOOGLE_GEMINI_BASE_URL": simulator.base_url,
            "SSL_CERT_FILE": str(simulator.ca_file),
        }
        async with serving(**settings, PHRASES="false") as service:
            service.signal(signal.SIGTERM)
            assert await service.exit_code() == 0
        assert simulator.session_count == 0

        settings["PHRASES"] = "true"
        async with serving(**settings) as service:
            made = await service.logged("phrase made")
            assert 0.35 <= made["seconds"] <= 0.45
            await until(lambda: files(tmp_path / "phrases"))
            [first] = files(tmp_path / "phrases")
            service.log.clear()
            desk.write_text(desk.read_text().replace(WORDS, "Just a second."))
            service.signal(signal.SIGHUP)
            await service.logged("phrase made")
            _, page = await service.page("/metrics")
            assert 'audiosocket_agent_tokens_total{direction="out",modality="audio"}' in page
            service.signal(signal.SIGTERM)
            assert await service.exit_code() == 0
        [second] = files(tmp_path / "phrases")
        assert second != first

        async with serving(**settings) as service:
            service.signal(signal.SIGTERM)
            assert await service.exit_code() == 0
        assert simulator.session_count == 2
