"""The figures a caller notices, measured at the AudioSocket edge: `python -m tests.bench.figures`.

The service is a process of its own; the simulator and the callers share another, so that one clock
times them all. What the model takes (its VAD, its thinking) is subtracted turn by turn. Human speech
comes from Asterisk's prompts where `make test-pbx` has put them, else from the shipped caller.
"""

import argparse
import asyncio
from statistics import median

from audiosocket_agent import assets
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.load import CallPlan, place_calls
from audiosocket_agent.lab.report import quantile
from audiosocket_agent.lab.simulator import Behaviour, Pcm, Simulator
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from tests.pbx.asterisk import ROOT
from tests.pbx.service import Service, running_service
from tests.pbx.speech import QUESTIONS, prompt

Row = dict[str, list[float]]  # figure -> values, ms


def speech() -> tuple[list[bytes], list[bytes]]:
    """What to ask, and what to say over a reply, at 8 kHz: human where it is at hand."""
    prompts = sorted((ROOT / "usr/share/asterisk/sounds/en_US_f_Allison").glob("*.wav"))
    if not prompts:
        shipped = read_utterances(SHIPPED_CALLER, 8_000)
        return shipped, shipped
    spoken = [path.stem for path in prompts if 16_000 < path.stat().st_size < 64_000]  # 1 to 4 s
    return (
        [prompt(name).tobytes() for name in QUESTIONS],
        [prompt(name).tobytes() for name in spoken[:: len(spoken) // 30]],
    )


async def conversation(
    service: Service, simulator: Simulator, question: bytes, remark: bytes, row: Row
) -> None:
    """Greeting, a question and its reply, a remark over that reply."""
    loop = asyncio.get_running_loop()
    async with Call.connect("127.0.0.1", service.port) as call:
        zero = loop.time() - call.now
        greeted = await call.agent_speaks()
        await call.agent_silent(0.7)
        call.say(question)
        await call.said()
        answered = await call.agent_speaks()
        await call.passes(1.5)
        await call.agent_speaks()
        over = call.say(remark)
        await call.said()
        await call.agent_silent(0.5)
        quiet = max((f.at for f in call.frames if f.audible and f.at < over.ends), default=0.0)
    model = simulator.sessions[-1].model_turns
    assert model[0].first_chunk is not None
    assert model[1].first_chunk is not None
    row["first frame after accept"].append(call.frames[0].at * 1000)
    row["greeting after the model's first chunk"].append(
        (zero + greeted - model[0].first_chunk) * 1e3
    )
    row["reply after the model's first chunk"].append(
        (zero + answered - model[1].first_chunk) * 1e3
    )
    row["onset of speech to silence"].append((quiet + 0.020 - over.begins) * 1000)


async def measure(rounds: int, calls: int, fast_path: bool) -> None:
    """Print the table."""
    row: Row = {
        name: []
        for name in (
            "first frame after accept",
            "greeting after the model's first chunk",
            "reply after the model's first chunk",
            "onset of speech to silence",
        )
    }
    # Words that begin with a voiced sound: the hiss of an s is outside the telephone's band.
    words = Pcm(assets.speech("simulator-greeting") * 3, assets.RATE_HZ)
    async with Simulator(Behaviour(reply=words)) as simulator:
        async with running_service(
            simulator, LOG_LEVEL="INFO", GEMINI_FAST_PATH=str(fast_path)
        ) as service:
            asked, remarks = speech()
            for number in range(rounds):
                question = asked[number % len(asked)]
                remark = remarks[number % len(remarks)]
                await conversation(service, simulator, question, remark, row)
            stops = await service.metric("barge_in_stop_seconds_sum") * 1000
            count = await service.metric("barge_in_stop_seconds_count")
            print(f"{'ms':45}{'n':>4}{'min':>8}{'median':>8}{'max':>8}")
            for name, values in row.items():
                low, mid, high = min(values), median(values), max(values)
                print(f"{name:45}{len(values):4}{low:8.1f}{mid:8.1f}{high:8.1f}")
            print(f"{'detection to end of last frame (mean)':45}{count:4.0f}{stops / count:16.1f}")
            print(f"and {calls} calls at once:")
            reports = await place_calls(CallPlan(port=service.port, calls=calls))
            for name in ("p50", "p99", "p999", "max"):
                spacing = sorted(getattr(r.spacing, f"{name}_seconds") * 1e3 for r in reports)
                print(
                    f"  spacing {name:6} median {median(spacing):.1f}  worst {quantile(spacing, 1):.1f}"
                )
            late = sum(r.spacing.late for r in reports if r.spacing)
            ok = sum(r.ok for r in reports)
            print(f"  {ok} of {calls} ok, intervals above 40 ms: {late}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--plain", action="store_true", help="the SDK's own path")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.calls, not arguments.plain))


if __name__ == "__main__":
    main()
