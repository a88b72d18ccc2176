"""What the SDK, the WebSocket and the network raise, as ModelError.

The texts go to a log at WARNING, so they hold neither the key nor what anybody said: of a message that
could not be understood only the kind of mistake is told, and Google's own words are masked and cut.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from google.auth.exceptions import GoogleAuthError, TransportError
from google.genai import errors
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from audiosocket_agent.errors import ModelError

MAX_TEXT: Final = 200

_RETRYABLE: Final = frozenset(
    {1000, 1001, 1006, 1011, 1012, 1013, 1014, 408, 429, 500, 502, 503, 504}
)


class OursFailed(Exception):
    """A fault of ours came up inside the SDK, which would take it for the model's; its cause is it."""


@contextmanager
def model_errors(secret: str = "") -> Iterator[None]:
    """Turn them into ModelError, `secret` masked; nothing else is touched."""
    try:
        yield
    except errors.APIError as error:
        code = error.code if isinstance(error.code, int) else 0
        words = error.message or error.details  # of a close at setup the SDK knows only the latter
        raise _error(code or "error", f"{code}: {words}", secret) from error
    except InvalidStatus as error:
        status = error.response.status_code
        raise _error(status, f"HTTP {status} at connect", secret) from error
    except ConnectionClosed as error:
        code = error.rcvd.code if error.rcvd else 1006
        raise _error(code, str(error), secret) from error
    except TimeoutError as error:
        raise ModelError("timeout", "not set up in time", retryable=True) from error
    except GoogleAuthError as error:
        if isinstance(error, TransportError) or error.retryable:
            raise ModelError("unreachable", type(error).__name__, retryable=True) from error
        # its text may hold paths and addresses, never a token; the kind is what tells the cure
        raise ModelError("credentials", type(error).__name__, retryable=False) from error
    except WebSocketException as error:  # a proxy's or server's answer that is none: no addresses
        raise ModelError("unreachable", type(error).__name__, retryable=True) from error
    except OSError as error:
        raise _error("unreachable", str(error), secret, retryable=True) from error
    except (ValueError, TypeError, KeyError) as error:
        # malformed JSON; and google-genai 3.4 raises TypeError for a message it does not know
        what = f"a message was not understood ({type(error).__name__})"
        raise ModelError("bad_message", what, retryable=True) from None


def _error(code: int | str, text: str, secret: str, *, retryable: bool = False) -> ModelError:
    shown = text.replace(secret, "***") if secret else text
    return ModelError(str(code), shown[:MAX_TEXT], retryable=retryable or code in _RETRYABLE)
