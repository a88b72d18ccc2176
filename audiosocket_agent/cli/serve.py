"""The service itself, and its settings."""

import gc
import json
from typing import Annotated

import typer

from audiosocket_agent import __version__, config
from audiosocket_agent.cli.options import AsJson, ConfigFile


def serve(
    file: ConfigFile = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Take the ports of the service that is running, which then drains; where none is, "
            "start as ever.",
        ),
    ] = False,
) -> None:
    """Take calls until told to stop."""
    gc.disable()  # until it takes calls: what is imported stays, and the search took a quarter of it
    import uvloop

    from audiosocket_agent.service import serve as run

    loaded = config.load(file)
    uvloop.run(run(loaded.settings, take_over=take_over))


def version() -> None:
    """Show the version."""
    typer.echo(__version__)


def config_check(file: ConfigFile = None) -> None:
    """Say whether the settings can be used."""
    from audiosocket_agent.business.sms import check_url
    from audiosocket_agent.records.costs import Prices
    from audiosocket_agent.records.place import Place
    from audiosocket_agent.roster import check_bounds

    loaded = config.load_beside_the_service(file)
    settings = loaded.settings
    check_bounds(settings)
    Place.of(config.database_url(settings))
    Prices.load(settings.records.prices)
    if settings.sms.url:
        check_url(settings.sms.url)
    typer.echo(f"ok: {len(loaded.origins)} settings given, model {loaded.settings.model}")


def config_print(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show the settings in force and where they come from; secrets are masked."""
    loaded = config.load_beside_the_service(file)
    if as_json:
        typer.echo(json.dumps(config.as_dict(loaded), indent=2, default=str))
    else:
        typer.echo(config.as_toml(loaded), nl=False)


def agents_list(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show the agents there are, and whom each may pass callers on to."""
    from audiosocket_agent.roster import profiles

    settings = config.load_beside_the_service(file).settings
    agents = profiles(settings).values()
    if as_json:
        shown = [
            {
                "name": agent.name,
                "default": agent.name == settings.default_agent,
                "tools": agent.tools,
                "webhooks": [webhook.name for webhook in agent.webhooks],
                "functions": [function.spec.name for function in agent.functions],
                "mcp": {server.name: list(server.names) for server in agent.mcp},
                "targets": {t.name: t.extension for t in agent.targets},
                "keys": {digit: key.action for digit, key in agent.keys.items()},
            }
            for agent in agents
        ]
        typer.echo(json.dumps(shown, indent=2))
        return
    for agent in agents:
        mark = "*" if agent.name == settings.default_agent else " "
        typer.echo(f"{mark} {agent.name:24} {', '.join(t.name for t in agent.targets)}".rstrip())


def agents_check(file: ConfigFile = None) -> None:
    """Say whether the agents' files can be used: every mistake, with its line."""
    from audiosocket_agent.roster import profiles

    typer.echo(f"ok: {', '.join(profiles(config.load_beside_the_service(file).settings))}")
