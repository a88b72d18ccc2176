"""A voice agent for Asterisk: AudioSocket in, Gemini Live out, one asyncio process."""

__version__ = "0.1.0"
