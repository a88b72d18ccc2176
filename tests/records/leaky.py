"""A tool that tells more than it should, when it fails."""

import logging

KEY = "sk-live-0123456789abcdefghij"


async def look_up(number: str) -> str:
    """Find a customer.

    Args:
        number: Theirs.
    """
    logging.getLogger("acme.crm").error("cannot find %s with %s", number, KEY, extra={"n": number})
    raise ValueError(f"no customer {number} (Authorization: Bearer {KEY})")
