"""The commands, one function each; here, where each has its name.

What a command needs is imported inside it: `version` is not to wait for a model's SDK.
"""

import sys

import typer

from audiosocket_agent.cli import calls, data, lab, pbx, promises, records, serve
from audiosocket_agent.errors import AgentError, ConfigError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A voice agent for Asterisk: AudioSocket in, Gemini Live out.",
)
app.command()(serve.serve)
app.command()(calls.status)
app.command()(pbx.dial)
app.command()(pbx.dialplan)
app.command()(pbx.doctor)
app.command()(serve.version)
app.command()(lab.call)
app.command()(lab.simulate)

calls_app = typer.Typer(no_args_is_help=True, help="Calls: those that are up, and the records.")
calls_app.command("list")(calls.list_calls)
calls_app.command()(calls.show)
calls_app.command()(calls.hangup)
calls_app.command()(calls.transfer)
calls_app.command()(records.export)
calls_app.command()(records.forget)
app.add_typer(calls_app, name="calls")

tickets_app = typer.Typer(no_args_is_help=True, help="What callers were promised.")
tickets_app.command("list")(promises.tickets_list)
tickets_app.command("show")(promises.tickets_show)
tickets_app.command("close")(promises.tickets_close)
app.add_typer(tickets_app, name="tickets")

callbacks_app = typer.Typer(no_args_is_help=True, help="Calls that were promised.")
callbacks_app.command("list")(promises.callbacks_list)
callbacks_app.command("done")(promises.callbacks_done)
app.add_typer(callbacks_app, name="callbacks")

data_app = typer.Typer(no_args_is_help=True, help="A business's own data, for the agents' tools.")
data_app.command("import")(data.import_file)
data_app.command()(data.sample)
data_app.command()(data.kinds)
app.add_typer(data_app, name="data")

db_app = typer.Typer(no_args_is_help=True, help="The database of calls.")
db_app.command()(records.upgrade)
app.add_typer(db_app, name="db")

agents_app = typer.Typer(no_args_is_help=True, help="Who answers.")
agents_app.command("list")(serve.agents_list)
agents_app.command("check")(serve.agents_check)
app.add_typer(agents_app, name="agents")

config_app = typer.Typer(no_args_is_help=True, help="Settings.")
config_app.command("check")(serve.config_check)
config_app.command("print")(serve.config_print)
app.add_typer(config_app, name="config")


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 failed, 2 usage, 3 bad configuration; `dial` has more."""
    try:
        app()
    except ConfigError as error:
        typer.echo(error, err=True)
        sys.exit(3)
    except AgentError as error:
        typer.echo(error, err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
