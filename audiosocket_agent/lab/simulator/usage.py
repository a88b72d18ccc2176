"""Tokens, counted as the service counts them: the whole context again with every turn."""

from dataclasses import dataclass
from typing import Any, Final

AUDIO_TOKENS_PER_SECOND: Final = 25
"""In and out, silence included."""
UNDETAILED_TOKENS: Final = 32
"""What promptTokenCount has more than its details add up to; 25 to 51 were seen."""
THOUGHT_TOKENS: Final = 20
"""Per turn, outside of totalTokenCount."""


@dataclass(slots=True)
class Context:
    """What the model has in mind, in tokens."""

    text: int = 0
    audio: float = 0.0
    trigger: int | None = None
    target: int = 0

    def heard(self, seconds: float) -> None:
        """The caller's line was open for `seconds`."""
        self.audio += seconds * AUDIO_TOKENS_PER_SECOND

    def charge_turn(self, spoken_seconds: float, *, vertex: bool) -> dict[str, Any]:
        """The usageMetadata of a turn; what was spoken is context from now on."""
        text, audio = self.text, int(self.audio)
        spoken = round(spoken_seconds * AUDIO_TOKENS_PER_SECOND)
        self.audio += spoken
        self._compress()
        prompt = text + audio + UNDETAILED_TOKENS
        answer = "candidates" if vertex else "response"
        return {
            "promptTokenCount": prompt,
            f"{answer}TokenCount": spoken,
            "thoughtsTokenCount": THOUGHT_TOKENS,
            "totalTokenCount": prompt + spoken,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": text},
                {"modality": "AUDIO", "tokenCount": audio},
            ],
            f"{answer}TokensDetails": [{"modality": "AUDIO", "tokenCount": spoken}],
        }

    def _compress(self) -> None:
        if self.trigger is not None and self.text + self.audio > self.trigger:
            self.audio = max(0.0, self.target - self.text)
