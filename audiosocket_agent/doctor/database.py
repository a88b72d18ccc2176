"""The database of calls. No call needs it; its records do."""

from audiosocket_agent import config
from audiosocket_agent.doctor.finding import Finding, failed, ok
from audiosocket_agent.doctor.host import Host
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.store import Store


async def database(host: Host) -> list[Finding]:
    """Whether it is there, and of a version that this one knows."""
    try:
        store = Store(config.database_url(host.settings))
    except ConfigError as error:
        return [failed("database", str(error), "correct DATABASE_URL")]
    async with store:
        file = store.place.file
        if file is not None and not file.exists():
            return [ok("database", f"{store.place.name} is made when the service starts")]
        try:
            await store.open()
        except StoreError as error:
            cure = (
                "see that it runs and that DATABASE_URL is right; rows wait in a journal meanwhile"
            )
            if not error.retryable:
                cure = "audiosocket-agent db upgrade, or install the version that made it"
            return [failed("database", str(error), cure)]
    return [ok("database", f"{store.place.name} answers")]
